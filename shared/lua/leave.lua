-- Takes a session out of its player's record as if it had never been entered, unless another attempt has entered it
-- since: the attempt has opened none. (model: leave)
-- KEYS  {user:ID}:sessions
-- ARGV  session id, the second at which it was to end, microseconds between two at an even pace (0 for any pace)
-- Returns  1 if it was there, else 0

local record, id, ends, interval = KEYS[1], unpack(ARGV)
if redis.call('HGET', record, id) ~= ends then return 0 end
redis.call('HDEL', record, id)
local rate = tonumber(redis.call('HGET', record, 'rate') or '')
if rate then redis.call('HSET', record, 'rate', string.format('%.0f', rate - interval)) end
return 1
