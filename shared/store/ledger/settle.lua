-- Closes a call: gives its hold back, counts its cost and keeps its rows. A call
-- that the sweep took for lost is corrected. The first write is a delete, so that
-- it also runs when Redis is full.
-- KEYS  intents, due, done, tombs, usage, then a balance for each share
-- ARGV  call, cost, tokens, plan, mode, then rows
-- mode  "real"   of the process that served the call
--       "late"   the same, so late that its done set may be gone: only what is open
--                or was swept can have been unsettled till now
--       "swept"  of the sweep: a call that was renewed meanwhile is left alone
local call, cost, tokens, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local shares = cjson.decode(ARGV[4]).shares
local now = clock()

local was = open_call(KEYS[1], call)
local tomb = redis.call('HGET', KEYS[4], call)
local done = redis.call('SISMEMBER', KEYS[3], call) == 1
local due = redis.call('ZSCORE', KEYS[2], call)
local swept = { cost = '0', tokens = '0' }

if mode == 'swept' then
  if not was then
    if due then redis.call('ZREM', KEYS[2], call) end
    return { 'closed', now }
  end
  if due and num(due) > now then return { 'open', now } end
elseif tomb then
  redis.call('HDEL', KEYS[4], call)
  swept.cost, swept.tokens, swept.row = string.match(tomb, '^(%d+) (%d+) (.*)$')
elseif done then
  return { 'closed', now }
elseif mode == 'late' and not was then
  return { 'unknown', now }
end

redis.call('HDEL', KEYS[1], call)
redis.call('ZREM', KEYS[2], call)
for i, share in ipairs(shares) do
  local b = KEYS[i + 5]
  local have = load(b)
  if was then
    redis.call('HINCRBY', b, 'open', '-1')
    hold_more(b, share, negative(was.hold), negative(was.tokens))
  end
  for _, c in ipairs(share.count or {}) do
    charge(b, have, c, cost)
    charge(b, have, c, negative(swept.cost))
  end
  for _, w in ipairs(share.window or {}) do
    for field, amounts in pairs({ t = { tokens, negative(swept.tokens) }, c = { cost, negative(swept.cost) } }) do
      for _, amount in ipairs(amounts) do tally(b, have, w, now, field, amount) end
    end
  end
end
redis.call('SADD', KEYS[3], call)
if mode == 'swept' then redis.call('HSET', KEYS[4], call, cost .. ' ' .. tokens .. ' ' .. (ARGV[6] or '')) end
for i = 6, #ARGV do
  local row = ARGV[i]
  if i == 6 and swept.row and swept.row ~= '' then row = string.sub(row, 1, -2) .. ',"corrects":' .. swept.row .. '}' end
  redis.call('XADD', KEYS[5], '*', 'r', row)
end
return { swept.row and 'corrected' or 'ok', now }
