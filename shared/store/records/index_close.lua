-- Closes an owner to new links if it has none, so that it can be moved or deleted.
-- KEYS: its places, then each of its links. ARGV: id.
-- Answers how many members each of its links has; it is closed when all are 0.
local counts, total = {}, 0
for i = 2, #KEYS do
  counts[i - 1] = redis.call('ZCARD', KEYS[i])
  total = total + counts[i - 1]
end
if total > 0 then
  return counts
end
local place = redis.call('HGET', KEYS[1], ARGV[1])
if place and string.sub(place, 1, 1) ~= '!' then
  redis.call('HSET', KEYS[1], ARGV[1], '!' .. place)
end
return counts
