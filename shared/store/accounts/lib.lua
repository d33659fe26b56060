-- Shared by the scripts of the accounts. Times are Unix milliseconds.

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function num(s) return tonumber(s or '0') or 0 end
local function ms(n) return string.format('%d', n) end

-- How many places a recovering account grows to before it counts as healthy.
local recovered = 64

-- Ends an attempt: gives its place back and notes what it said of the account.
local function release(r, calls, leases, health, vendor)
  local had = redis.call('ZREM', leases, r.call)
  local mark = redis.call('HGET', calls, r.call)
  if mark and string.find(mark, '|' .. r.attempt .. '|', 1, true) then redis.call('HDEL', calls, r.call) end
  if r.healthy then
    local places = num(redis.call('HGET', health, 'places'))
    if had == 1 and places > 0 then
      if places * 2 > recovered then
        redis.call('HDEL', health, 'places', 'until', 'why')
      else
        redis.call('HSET', health, 'places', ms(places * 2))
      end
    end
    return
  end
  if not r.cool then return end
  local key, field = health, 'until'
  if r.scope == 1 then field = 'f:' .. r.family end
  if r.scope == 2 then key, field = vendor, 'f:' .. r.family end
  if num(redis.call('HGET', key, field)) >= num(r.cool) then return end
  redis.call('HSET', key, field, r.cool)
  if r.scope == 0 then
    redis.call('HSET', key, 'why', r.why, 'places', '1')
  else
    redis.call('HSET', key, 'w:' .. r.family, r.why)
  end
end
