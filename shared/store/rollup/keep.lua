-- Removes buckets and says since when there are the others, unless another process
-- has done that.
-- KEYS  cursors, then the buckets
-- ARGV  field, its value before, its value after
local have = redis.call('HGET', KEYS[1], ARGV[1])
if have == ARGV[3] then return 1 end
if have ~= ARGV[2] then return 0 end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
