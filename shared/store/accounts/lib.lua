-- Shared by the scripts of the accounts. Times are Unix milliseconds.

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function num(s) return tonumber(s or '0') or 0 end
local function ms(n) return string.format('%d', n) end

-- How many places a recovering account grows to before it counts as healthy.
local recovered = 64

-- How many model families of one account or vendor may cool down at once. Names
-- of families may come from clients; they must not fill the memory.
local families = 256

-- Makes room among the cool-downs of families; says whether there is some.
local function room(key)
  if redis.call('HLEN', key) < 2 * families then return true end
  local all, now = redis.call('HGETALL', key), clock()
  local left = 0
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'f:' then
      if num(all[i + 1]) > now then
        left = left + 1
      else
        redis.call('HDEL', key, all[i], 'w:' .. string.sub(all[i], 3))
      end
    end
  end
  return left < families
end

-- Notes that a call leased after the last cool-down went well.
local function success(health, since)
  local h = redis.call('HMGET', health, 'places', 'until')
  local places = num(h[1])
  if places == 0 or since < num(h[2]) then return end
  if places * 2 > recovered then
    redis.call('HDEL', health, 'places', 'until', 'why')
  else
    redis.call('HSET', health, 'places', ms(places * 2))
  end
end

-- Ends an attempt: gives its place back and notes what it said of the account.
local function release(r, calls, leases, health, vendor)
  local mark = redis.call('HGET', calls, r.call)
  local since = mark and string.match(mark, '|' .. r.attempt .. '|(%d+)$')
  if since then redis.call('HDEL', calls, r.call) end
  local had = redis.call('ZREM', leases, r.call)
  if r.healthy then
    if had == 1 and since then success(health, num(since)) end
    return
  end
  if not r.cool then return end
  local key, field = health, 'until'
  if r.scope == 1 then field = 'f:' .. r.family end
  if r.scope == 2 then key, field = vendor, 'f:' .. r.family end
  local old = redis.call('HGET', key, field)
  if num(old) >= num(r.cool) then return end
  if r.scope == 0 then
    redis.call('HSET', key, field, r.cool, 'why', r.why, 'places', '1')
  elseif old or room(key) then
    redis.call('HSET', key, field, r.cool, 'w:' .. r.family, r.why)
  end
end
