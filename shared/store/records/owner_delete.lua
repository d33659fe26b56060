-- Deletes an owner's record if its version is the one that was read.
-- KEYS: the record. ARGV: version read.
-- Answers '' when it is gone, else the version that stands.
local have = redis.call('HGET', KEYS[1], 'ver')
if not have then
  return '' -- a repeat
end
if have ~= ARGV[1] then
  return have
end
redis.call('DEL', KEYS[1])
return ''
