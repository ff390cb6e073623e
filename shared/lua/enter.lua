-- Enters a session into its player's record before it is opened, unless the player has too many. (model: enter)
-- KEYS  {user:ID}:sessions, {user:ID}:pace
-- ARGV  session id, seconds that it lives, microseconds between two at an even pace (0 for any pace), how many may come at
--       once, most that may be open at a time (0 for any number), and for an attempt that goes on where another with its key
--       has stopped: 'again'
-- Returns  {'entered' | 'again' | 'known', the second at which the session ends} | {'often' | 'full', seconds until there is
--          room}; numbers as decimal text
-- The record is a sorted set of the session's ids by the seconds at which they end, the pace when the player's next session
-- would come if all came evenly, in microseconds since 1970 (GCRA). Each is gone when it is past.

local record, pace = unpack(KEYS)
local id, again = ARGV[1], ARGV[6]
local life, interval, burst, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function text(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000000 + time[2]

local ends = tonumber(redis.call('ZSCORE', record, id) or '') or 0
local word = 'entered'
local rate
if ends > second then -- a retry: it was counted when its session was entered
  if not again then return {'known', text(ends)} end
  word = 'again'
  redis.call('ZREM', record, id) -- a removal can be done when memory is full, and then what follows as well
else
  -- As in submit.lua: whoever is refused is not counted, and a clock that was ahead locks nobody out.
  if interval > 0 then
    local full = interval * burst
    rate = tonumber(redis.call('GET', pace) or '') or 0
    if rate > now + full then rate = 0 end
    rate = math.max(rate, now) + interval
    if rate > now + full then return {'often', text(math.ceil((rate - now - full) / 1000000))} end
  end
  if most > 0 and redis.call('ZCOUNT', record, '(' .. second, '+inf') >= most then
    local first = redis.call('ZRANGE', record, '(' .. second, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    return {'full', text(first[2] - second)}
  end
end

-- Another second each time, so that whoever has stopped does not take out what is entered now (leave.lua).
ends = math.max(ends, second + life) + 1
redis.call('ZADD', record, text(ends), id)
redis.call('ZREMRANGEBYSCORE', record, '-inf', second)
if redis.call('EXPIRETIME', record) < ends then redis.call('EXPIREAT', record, text(ends)) end
if rate then redis.call('SET', pace, text(rate), 'EXAT', text(math.ceil(rate / 1000000))) end
return {word, text(ends)}
