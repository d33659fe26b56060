-- Renews an open call and raises what it holds, or renews it alone when a limit
-- refuses. A call that the store lost is opened again: it is running.
-- KEYS  intents, due, done, then a balance for each share
-- ARGV  call, hold, tokens, TTL in ms, plan, plan and row
local call, hold, tokens, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local shares = cjson.decode(ARGV[5]).shares
local now = clock()

local was = open_call(KEYS[1], call)
if not was and redis.call('SISMEMBER', KEYS[3], call) == 1 then return { 'closed', now } end
local own = { hold = num(was and was.hold), tokens = num(was and was.tokens) }

local outcome = { 'ok', now }
if was and num(hold) > own.hold then
  for i, share in ipairs(shares) do
    local why = exceeded(load(KEYS[i + 3]), share, now, num(hold), num(tokens), own)
    if why then
      outcome = { 'refused', now, why[1], i - 1, why[2] - 1, why[3], why[4], why[5], 0 }
      break
    end
  end
end
local kept = ARGV[6]
if outcome[1] == 'refused' then hold, tokens, kept = was.hold, was.tokens, was.kept end

for i, share in ipairs(shares) do
  local b = KEYS[i + 3]
  if was then
    hold_more(b, share, negative(was.hold), negative(was.tokens))
  else
    redis.call('HINCRBY', b, 'open', '1')
  end
  hold_more(b, share, hold, tokens)
end
redis.call('HSET', KEYS[1], call, hold .. ' ' .. tokens .. ' ' .. kept)
redis.call('ZADD', KEYS[2], string.format('%d', now + ttl), call)
return outcome
