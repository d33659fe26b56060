-- Closes a call: gives its hold back, counts its cost and keeps its row. The
-- first write is a delete, so that it also runs when Redis is full.
-- KEYS  intents, due, done, usage, then a balance for each share
-- ARGV  call, cost, tokens, row or "", plan, only_due ("1": leave a call alone that was renewed)
local call, cost, tokens, row = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local shares = cjson.decode(ARGV[5]).shares
local now = clock()

local was = open_call(KEYS[1], call)
if redis.call('SISMEMBER', KEYS[3], call) == 1 then return { 'closed', now } end
if ARGV[6] == '1' then
  local due = redis.call('ZSCORE', KEYS[2], call)
  if not was or due and num(due) > now then return { 'open', now } end
end

redis.call('HDEL', KEYS[1], call)
redis.call('ZREM', KEYS[2], call)
for i, share in ipairs(shares) do
  local b = KEYS[i + 4]
  local have = load(b)
  if was then
    redis.call('HINCRBY', b, 'open', '-1')
    hold_more(b, share, negative(was.hold), negative(was.tokens))
  end
  if cost ~= '0' then
    for _, c in ipairs(share.count or {}) do charge(b, have, c, cost) end
  end
  if cost ~= '0' or tokens ~= '0' then
    for _, w in ipairs(share.window or {}) do
      tally(b, have, w, now, 't', tokens)
      tally(b, have, w, now, 'c', cost)
    end
  end
end
redis.call('SADD', KEYS[3], call)
if row ~= '' then redis.call('XADD', KEYS[4], '*', 'r', row) end
return { 'ok', now }
