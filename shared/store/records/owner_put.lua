-- Writes an owner's record if its version is the one that was read.
-- KEYS: the record. ARGV: kind, version read ('' = there is none, '*' = any), new version, record.
-- Answers '' when it is written, else the version that stands ('-' = there is none).
-- Other fields, such as the time of first use, stay.
local have = redis.call('HGET', KEYS[1], 'ver')
if have and have == ARGV[3] and redis.call('HGET', KEYS[1], 'rec') == ARGV[4] then
  return '' -- a repeat
end
if ARGV[2] ~= '*' and (have or '') ~= ARGV[2] then
  return have or '-'
end
redis.call('HSET', KEYS[1], 'kind', ARGV[1], 'ver', ARGV[3], 'rec', ARGV[4])
return ''
