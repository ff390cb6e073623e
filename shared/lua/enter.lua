-- Enters a session into its player's record before it is opened, unless the player has too many. (model: enter)
-- KEYS  {user:ID}:sessions
-- ARGV  session id, seconds that it lives, microseconds between two at an even pace (0 for any pace), how many may come at
--       once, most that may be open at a time (0 for any number), and for an attempt that goes on where another with its key
--       has stopped: 'again'
-- Returns  {'entered' | 'known', the second at which the session ends} | {'often' | 'full', seconds until there is room};
--          numbers as decimal text
-- The record is a hash: each session's id with the second at which it ends, and in the field `rate` when the player's next
-- one would come at an even pace, in microseconds since 1970 (GCRA). It is gone when all of these are past.

local record, id, again = KEYS[1], ARGV[1], ARGV[6]
local life, interval, burst, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function text(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]

-- Takes out those of some sessions that have ended. Returns when the first of the others ends.
local function drop(flat)
  local first = math.huge
  for i = 1, #flat, 2 do
    local ends = tonumber(flat[i + 1]) or 0
    if flat[i] ~= 'rate' then
      if ends > second then first = math.min(first, ends) else redis.call('HDEL', record, flat[i]) end
    end
  end
  return first
end

local ends = tonumber(redis.call('HGET', record, id) or '') or 0
local known = ends > second -- a retry, whose session was counted when it was entered
if known and not again then return {'known', text(ends)} end

local rate
if again then
  redis.call('HDEL', record, id) -- a removal can be done when memory is full, and then what follows as well
else
  -- As in submit.lua: whoever is refused is not counted, and a clock that was ahead locks nobody out.
  local kept = redis.call('HGET', record, 'rate')
  if interval > 0 then
    local full = interval * burst
    rate = tonumber(kept or '') or 0
    if rate > now + full then rate = 0 end
    rate = math.max(rate, now) + interval
    if rate > now + full then return {'often', text(math.ceil((rate - now - full) / 1000000))} end
  end
  -- Each session that comes takes some out, so that the record stays short; if there is no room, all that have ended go.
  drop(redis.call('HRANDFIELD', record, 4, 'WITHVALUES'))
  local function open() return redis.call('HLEN', record) - (kept and 1 or 0) end
  if most > 0 and open() >= most then
    local first = drop(redis.call('HGETALL', record))
    if open() >= most then return {'full', text(first - second)} end
  end
end

-- Another second each time, so that whoever has stopped does not take out what is entered now (leave.lua).
ends = math.max(ends, second + life) + 1
redis.call('HSET', record, id, text(ends))
if rate then redis.call('HSET', record, 'rate', text(rate)) end
local past = math.max(ends, math.ceil((rate or 0) / 1000000))
if redis.call('EXPIRETIME', record) < past then redis.call('EXPIREAT', record, text(past)) end
return {'entered', text(ends)}
