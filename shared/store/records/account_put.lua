-- Replaces an account's record if it is the one that was read, and counts the change.
-- KEYS: the accounts, their version. ARGV: id, record read ('' = there is none, '*' = any),
-- new record ('' = delete it).
-- Answers 1 when it is done, 0 when another record stands.
local have = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if have == ARGV[3] then
  return 1 -- a repeat
end
if ARGV[2] ~= '*' and have ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('INCR', KEYS[2])
return 1
