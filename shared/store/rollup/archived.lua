-- Moves the cursor past the entries of an object that is archived, unless another
-- process has moved it.
-- KEYS  cursors
-- ARGV  cursor before, cursor after
local have = redis.call('HGET', KEYS[1], 'archived') or ''
if have == ARGV[2] then return 1 end
if have ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'closing')
redis.call('HSET', KEYS[1], 'archived', ARGV[2])
return 1
