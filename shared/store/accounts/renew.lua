-- Extends leases, and recreates those that were lost.
-- KEYS  calls, then the leases of each account
-- ARGV  TTL in ms, then for each key after the first: call, mark
local now = clock()
for i = 2, #KEYS do
  local call, mark = ARGV[2 * i - 2], ARGV[2 * i - 1]
  redis.call('ZADD', KEYS[i], ms(now + num(ARGV[1])), call)
  redis.call('HSET', KEYS[1], call, mark)
end
return 'ok'
