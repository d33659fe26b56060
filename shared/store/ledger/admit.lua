-- Opens a call: verifies the records, checks every limit, then writes.
-- KEYS  intents, due, done, then a record and a balance for each share
-- ARGV  call, purpose, hold, tokens, TTL in ms, plan, plan and row
local call, purpose, hold, tokens, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local shares = cjson.decode(ARGV[6]).shares
local now = clock()

local record = {}
for i, share in ipairs(shares) do
  local v = redis.call('HMGET', KEYS[2 * i + 2], 'ver', 'first', 'rec')
  record[i] = { ver = v[1], first = v[2], rec = v[3] or '' }
end
for i, share in ipairs(shares) do
  if record[i].ver ~= share.ver then
    local fresh = { 'stale', now }
    for j = 1, #shares do fresh[j + 2] = record[j].rec end
    return fresh
  end
end
if purpose == 'probe' then return { 'ok', now } end

local key = shares[1]
if key.exp and now >= key.exp then return { 'expired', now } end
if key.life and record[1].first and now >= num(record[1].first) + key.life then return { 'expired', now } end

if purpose == 'open' then
  if redis.call('HEXISTS', KEYS[1], call) == 1 then return { 'ok', now } end
  if redis.call('SISMEMBER', KEYS[3], call) == 1 then return { 'closed', now } end
end

local balance, soft = {}, nil
local function refuse(i, why)
  local due = redis.call('ZCOUNT', KEYS[2], '-inf', string.format('%d', now))
  return { 'refused', now, why[1], i - 1, why[2] - 1, why[3], why[4], why[5], due }
end
for i, share in ipairs(shares) do
  local have = load(KEYS[2 * i + 3])
  balance[i] = have
  local why = purpose == 'open' and exceeded(have, share, now, num(hold), num(tokens), { hold = 0, tokens = 0 })
  if why and why[1] == 'spent' then return refuse(i, why) end
  if why then soft = soft or { i, why } end
  if share.conc and num(have.open) >= share.conc then soft = soft or { i, { 'concurrency', 1, num(have.open), 0, 0 } } end
  for j, w in ipairs(share.window or {}) do
    if w.r then
      local r, _, _, free = window(have, w, now)
      if r + 1 > num(w.r) then soft = soft or { i, { 'requests', j, r, 0, free } } end
    end
  end
end
if soft then return refuse(soft[1], soft[2]) end

local answer = { 'ok', now }
for i, share in ipairs(shares) do
  local b = KEYS[2 * i + 3]
  for j, w in ipairs(share.window or {}) do
    local r, t, _, free = window(balance[i], w, now)
    local flight = num(balance[i].tokens) + num(tokens)
    for _, v in ipairs({ i - 1, j - 1, r + 1, t + flight, free }) do answer[#answer + 1] = v end
  end
  if purpose == 'open' then
    redis.call('HINCRBY', b, 'open', '1')
    hold_more(b, share, hold, tokens)
  end
  for _, w in ipairs(share.window or {}) do tally(b, balance[i], w, now, 'r', '1') end
end
if not record[1].first then redis.call('HSET', KEYS[4], 'first', string.format('%d', now)) end
if purpose == 'open' then
  redis.call('HSET', KEYS[1], call, hold .. ' ' .. tokens .. ' ' .. ARGV[7])
  redis.call('ZADD', KEYS[2], string.format('%d', now + ttl), call)
end
return answer
