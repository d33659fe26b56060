-- Lists a record, says where it is, and links it to its parents if all are open.
-- KEYS: the list, the places, then for each parent: its places, its links; then
-- the links that the record is no longer in.
-- ARGV: id, place, '1' to check the parents, then for each parent: its id.
-- Answers '' when it is done, else the id of the parent that is missing or being changed.
local id, place, check = ARGV[1], ARGV[2], ARGV[3] == '1'
local parents = #ARGV - 3
for i = 1, parents do
  local at = redis.call('HGET', KEYS[1 + 2 * i], ARGV[3 + i])
  if check and (not at or string.sub(at, 1, 1) == '!') then
    return ARGV[3 + i]
  end
end
redis.call('ZADD', KEYS[1], 0, id)
redis.call('HSET', KEYS[2], id, place)
for i = 1, parents do
  redis.call('ZADD', KEYS[2 + 2 * i], 0, id)
end
for i = 3 + 2 * parents, #KEYS do
  redis.call('ZREM', KEYS[i], id)
end
return ''
