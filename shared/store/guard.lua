local redis = (function(server)
  if #KEYS == 0 then
    error('guard: a script without KEYS is refused', 0)
  end
  local declared = {}
  for _, key in ipairs(KEYS) do
    declared[key] = true
  end
  local keys = {}
  for name in string.gmatch('GET SET HGET HSET HMGET HGETALL HDEL HINCRBY HEXISTS HLEN HSETNX HKEYS HVALS ZADD ZREM ZSCORE ZCARD ZCOUNT ZRANGE ZRANGEBYSCORE ZREVRANGE ZREMRANGEBYSCORE ZREMRANGEBYRANK SADD SREM SISMEMBER SMEMBERS SCARD XADD XLEN XRANGE XREVRANGE XDEL XTRIM INCR INCRBY DECR DECRBY TYPE SETNX STRLEN', '%S+') do
    keys[name] = 'first'
  end
  for name in string.gmatch('DEL UNLINK EXISTS MGET', '%S+') do
    keys[name] = 'all'
  end
  keys.TIME = 'none'
  local counts = { HINCRBY = true, INCRBY = true, DECRBY = true }
  local function exact(value)
    local number = tonumber(value)
    if not number or math.abs(number) >= 9007199254740992 then
      return false
    end
    if type(value) == 'number' then
      return number == math.floor(number)
    end
    return string.find(value, '^-?%d+$') ~= nil
  end
  local function check(command, ...)
    local name = string.upper(tostring(command))
    local args, n = {...}, select('#', ...)
    local kind = keys[name]
    if not kind then
      error('guard: command ' .. name .. ' is not known to the guard', 0)
    end
    if kind == 'none' then
      return
    end
    if n == 0 then
      error('guard: ' .. name .. ' without a key', 0)
    end
    for i = 1, kind == 'all' and n or 1 do
      if not declared[tostring(args[i])] then
        error('guard: undeclared key ' .. tostring(args[i]) .. ' of ' .. name, 0)
      end
    end
    if counts[name] and not exact(args[n]) then
      error('guard: inexact number ' .. tostring(args[n]) .. ' of ' .. name, 0)
    end
    for i = 2, n do
      if type(args[i]) == 'string' and string.find(args[i], '^-?%d%.?%d*e%+%d+$') then
        error('guard: formatted number ' .. args[i] .. ' of ' .. name, 0)
      end
    end
  end
  local guarded = {}
  for name, value in pairs(server) do
    guarded[name] = value
  end
  guarded.call = function(...)
    check(...)
    return server.call(...)
  end
  guarded.pcall = function(...)
    check(...)
    return server.pcall(...)
  end
  return guarded
end)(redis)
