-- Holds what an owner has held against the sum of its open calls, and repairs it.
-- Amounts are compared as numbers and added one by one, never formatted.
-- KEYS  intents, balance
-- ARGV  owner
local have = load(KEYS[2])
local holds, sums = { open = {}, tokens = {} }, {}
local function note(field, amount)
  holds[field] = holds[field] or {}
  table.insert(holds[field], amount)
  sums[field] = (sums[field] or 0) + num(amount)
end
for field in pairs(have) do
  if string.sub(field, 1, 4) == 'held' then holds[field] = holds[field] or {} end
end
local intents = redis.call('HVALS', KEYS[1])
for _, raw in ipairs(intents) do
  local hold, tokens, kept = string.match(raw, '^(%d+) (%d+) (.*)$')
  for _, share in ipairs(cjson.decode(kept).plan.shares) do
    if share.id == ARGV[1] then
      note('open', '1')
      note('tokens', tokens)
      for _, field in ipairs(share.held or {}) do note(field, hold) end
    end
  end
end
local wrong = {}
for field, amounts in pairs(holds) do
  if num(have[field]) ~= (sums[field] or 0) then
    wrong[#wrong + 1] = field
    wrong[#wrong + 1] = have[field] or '0'
    redis.call('HSET', KEYS[2], field, '0')
    for _, amount in ipairs(amounts) do redis.call('HINCRBY', KEYS[2], field, amount) end
  end
end
return wrong
