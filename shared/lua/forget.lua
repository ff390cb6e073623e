-- Drops those of a player's generations of receipts that have ended, or the mark of somebody who was erased. (model: forget, lift)
-- A server whose clock is wrong drops none: meanwhile it refuses attempts, which come again once it has been put right.
-- KEYS  {user:ID}:receipts:a and {user:ID}:receipts:b, or {user:ID}:erased
-- ARGV  the caller's time (ms since 1970), how far it may be from the server's (ms)
-- Returns  how many

local time = redis.call('TIME')
local second = tonumber(time[1])
if math.abs(time[1] * 1000 + time[2] / 1000 - ARGV[1]) > tonumber(ARGV[2]) then return 0 end
local dropped = 0
for _, key in ipairs(KEYS) do
  local ends = tonumber(redis.call('HGET', key, 'ends') or '') or 0
  if ends <= second then dropped = dropped + redis.call('UNLINK', key) end
end
return dropped
