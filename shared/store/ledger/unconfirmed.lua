-- Lists those of the calls whose settlement is not here: a failover lost it, or
-- the sweep's stands in its place.
-- KEYS  done, tombs
-- ARGV  calls
local missing = {}
for _, call in ipairs(ARGV) do
  if redis.call('SISMEMBER', KEYS[1], call) == 0 or redis.call('HEXISTS', KEYS[2], call) == 1 then
    missing[#missing + 1] = call
  end
end
return missing
