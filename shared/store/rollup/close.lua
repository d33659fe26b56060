-- Says which entry is the last of the next object of the archive: the given one, or
-- the one that a process before said and did not live to archive. So an object's
-- name stands for the same entries, whoever writes it.
-- KEYS  cursors
-- ARGV  cursor, last entry
if (redis.call('HGET', KEYS[1], 'archived') or '') ~= ARGV[1] then return '' end
redis.call('HSETNX', KEYS[1], 'closing', ARGV[2])
return redis.call('HGET', KEYS[1], 'closing')
