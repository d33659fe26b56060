-- Lists open calls that nobody renewed in time: call, stored intent, in turn.
-- KEYS  intents, due
-- ARGV  at most so many
local calls = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', clock()), 'LIMIT', '0', ARGV[1])
local found = {}
for _, call in ipairs(calls) do
  found[#found + 1] = call
  found[#found + 1] = redis.call('HGET', KEYS[1], call) or ''
end
return found
