-- Shared by every script of the ledger. Amounts of money stay decimal strings:
-- they are compared as numbers and added with HINCRBY, never formatted.

local slots = 11 -- of a window: ten that are full and the one that is filling

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function num(s) return tonumber(s or '0') or 0 end

local function load(key)
  local flat, t = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end

-- An open call is stored as "<hold> <tokens> <plan and row as JSON>".
local function open_call(intents, call)
  local raw = redis.call('HGET', intents, call)
  if not raw then return nil end
  local hold, tokens, kept = string.match(raw, '^(%d+) (%d+) (.*)$')
  return { hold = hold, tokens = tokens, kept = kept }
end

-- What is settled in the counter's period. A stored label that is newer is of a
-- process whose clock is ahead: its amount counts.
local function spent(have, c)
  if c.l ~= '' and (have[c.f .. '@'] or '') < c.l then return 0 end
  return num(have[c.f])
end

local function charge(key, have, c, cost)
  if cost == '0' then return end
  if c.l ~= '' then
    local label = have[c.f .. '@'] or ''
    if label > c.l then return end -- the period of this cost has passed
    if label < c.l then
      have[c.f .. '@'] = c.l
      redis.call('HSET', key, c.f .. '@', c.l, c.f, '0')
    end
  end
  redis.call('HINCRBY', key, c.f, cost)
end

-- The sums of a window: requests, tokens, cost, and when its oldest slot leaves.
local function window(have, w, now)
  local current = math.floor(now / w.ms)
  local r, t, c, oldest = 0, 0, 0, current
  for i = 0, slots - 1 do
    local p = w.n .. '.' .. i
    local slot = num(have[p .. '@'])
    if slot > current - slots then
      r, t, c = r + num(have[p .. 'r']), t + num(have[p .. 't']), c + num(have[p .. 'c'])
      if slot < oldest then oldest = slot end
    end
  end
  return r, t, c, (oldest + slots) * w.ms
end

local function tally(key, have, w, now, field, amount)
  if amount == '0' then return end
  local current = math.floor(now / w.ms)
  local p = w.n .. '.' .. (current % slots)
  if num(have[p .. '@']) ~= current then
    have[p .. '@'] = tostring(current)
    redis.call('HSET', key, p .. '@', string.format('%d', current), p .. 'r', '0', p .. 't', '0', p .. 'c', '0')
  end
  redis.call('HINCRBY', key, p .. field, amount)
end

-- The first money or token limit that holding so much would exceed, as
-- {reason, item, used, held, until}; what the call holds already is left out.
local function exceeded(have, share, now, hold, tokens, own)
  local soft
  for i, c in ipairs(share.count or {}) do
    if c.max then
      local used, held, max = spent(have, c), num(have[c.h]) - own.hold, num(c.max)
      if used + hold > max then return { 'spent', i, used, held, 0 } end
      if used + held + hold > max then soft = soft or { 'held', i, used, held, 0 } end
    end
  end
  for i, w in ipairs(share.window or {}) do
    if w.t or w.usd then
      local _, t, c, free = window(have, w, now)
      local held, htok = num(have.held) - own.hold, num(have.tokens) - own.tokens
      if w.t and t + htok + tokens > num(w.t) then
        soft = soft or { 'tokens', i, t, htok, t > 0 and free or 0 }
      elseif w.usd and c + held + hold > num(w.usd) then
        soft = soft or { 'cost', i, c, held, c > 0 and free or 0 }
      end
    end
  end
  return soft
end

local function negative(amount)
  if amount == '0' then return amount end
  return '-' .. amount
end

local function hold_more(key, share, hold, tokens)
  for _, field in ipairs(share.held or {}) do redis.call('HINCRBY', key, field, hold) end
  redis.call('HINCRBY', key, 'tokens', tokens)
end
