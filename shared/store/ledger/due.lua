-- Lists open calls that nobody renewed in time: call, stored intent, in turn. When
-- nobody has looked for longer than a call lives, those who renew calls were kept
-- from that, too: every due call gets its time once more instead.
-- KEYS  intents, due, when it was looked at last
-- ARGV  at most so many, TTL in ms, longest time between two looks in ms
local now = clock()
local last = redis.call('GET', KEYS[3])
local gap = not last or now - num(last) > tonumber(ARGV[3])
redis.call('SET', KEYS[3], string.format('%d', now))
if gap then
  local late = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', now))
  for _, call in ipairs(late) do redis.call('ZADD', KEYS[2], string.format('%d', now + tonumber(ARGV[2])), call) end
  return { #late > 0 and 'gap' or 'due' }
end
local found = { 'due' }
for _, call in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', now), 'LIMIT', '0', ARGV[1])) do
  found[#found + 1] = call
  found[#found + 1] = redis.call('HGET', KEYS[1], call) or ''
end
return found
