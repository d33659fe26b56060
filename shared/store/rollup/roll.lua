-- Writes sums and moves the cursor past what is in them, unless another process has
-- moved it. The sums were read, and added to, while the cursor stood where it must
-- still stand: whoever writes sums moves it. So a repeat does nothing.
-- KEYS  cursors, then a bucket each
-- ARGV  cursor before, cursor after, since, detail, days; then for each bucket how
--       many sums, and those: name, value
local have = redis.call('HGET', KEYS[1], 'rolled') or ''
if have == ARGV[2] then return 1 end
if have ~= ARGV[1] then return 0 end
local at = 6
for i = 2, #KEYS do
  local past = at + 2 * tonumber(ARGV[at])
  for field = at + 1, past, 2 do redis.call('HSET', KEYS[i], ARGV[field], ARGV[field + 1]) end
  at = past + 1
end
redis.call('HSET', KEYS[1], 'rolled', ARGV[2])
redis.call('HSETNX', KEYS[1], 'since', ARGV[3])
redis.call('HSETNX', KEYS[1], 'detail', ARGV[4])
redis.call('HSETNX', KEYS[1], 'days', ARGV[5])
return 1
