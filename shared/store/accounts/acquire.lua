-- Leases the first account of an ordered list that is healthy and free.
-- KEYS  version, calls, then leases, health and vendor of each ask, then of the
--       attempt before, if any
-- ARGV  the request as JSON
local r = cjson.decode(ARGV[1])
local now = clock()
if (redis.call('GET', KEYS[1]) or '0') ~= r.version then return { 'stale', now, 0 } end

local mark = redis.call('HGET', KEYS[2], r.call)
if mark then
  for i, ask in ipairs(r.asks) do
    if string.find(mark, ask.account .. '|' .. r.attempt .. '|', 1, true) == 1 then return { 'leased', now, i - 1 } end
  end
end

local function places(i, ask)
  local leases, health, vendor = KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2]
  local h = redis.call('HMGET', health, 'until', 'places', 'f:' .. ask.family)
  local cool = math.max(num(h[1]), num(h[3]), num(redis.call('HGET', vendor, 'f:' .. ask.family)))
  if cool > now then return 'cooling', cool end
  if not r.metered then return nil end
  local used = redis.call('ZCOUNT', leases, ms(now), '+inf')
  local mine = redis.call('ZSCORE', leases, r.call)
  if mine and num(mine) >= now then used = used - 1 end
  if num(h[2]) > 0 and used >= num(h[2]) then return 'recovering', 0 end
  if ask.max > 0 and used >= ask.max then return 'full', 0 end
  return nil
end

-- Leases that ended without a release are kept for a day, so that the sweep finds
-- the marks of their calls; then those marks are of calls that settled otherwise.
local day = 86400000
local function tidy(leases, account)
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. ms(now - day), 'LIMIT', 0, 16)) do
    local of = redis.call('HGET', KEYS[2], call)
    if of and string.find(of, account .. '|', 1, true) == 1 then redis.call('HDEL', KEYS[2], call) end
    redis.call('ZREM', leases, call)
  end
end

local passed, chosen = {}, nil
for i, ask in ipairs(r.asks) do
  local why, free = places(i, ask)
  if not why then
    chosen = i
    break
  end
  if i == 1 and r.patient and why == 'full' then return { 'waits', now, 0 } end
  passed[#passed + 1] = i - 1
  passed[#passed + 1] = why
  passed[#passed + 1] = free
end

if r.previous then
  local at = 3 * (#r.asks + 1)
  release(r.previous, KEYS[2], KEYS[at], KEYS[at + 1], KEYS[at + 2])
end
local answer = { chosen and 'leased' or 'none', now, (chosen or 1) - 1 }
for _, v in ipairs(passed) do answer[#answer + 1] = v end
if chosen and r.metered then
  local account = r.asks[chosen].account
  tidy(KEYS[3 * chosen], account)
  redis.call('ZADD', KEYS[3 * chosen], ms(now + r.ttl), r.call)
  redis.call('HSET', KEYS[2], r.call, account .. '|' .. r.attempt .. '|' .. ms(now))
end
return answer
