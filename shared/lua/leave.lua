-- Takes a session out of its player's record as if it had never been entered, unless another attempt has entered it
-- since: the attempt has opened none. (model: leave)
-- KEYS  {user:ID}:sessions, {user:ID}:pace
-- ARGV  session id, the second at which it was to end, microseconds between two at an even pace (0 for any pace)
-- Returns  1 if it was there, else 0

local record, pace = unpack(KEYS)
local id, ends, interval = unpack(ARGV)
if redis.call('ZSCORE', record, id) ~= ends then return 0 end
redis.call('ZREM', record, id)
local rate = tonumber(redis.call('GET', pace) or '')
if rate and tonumber(interval) > 0 then redis.call('SET', pace, string.format('%.0f', rate - interval), 'KEEPTTL') end
return 1
