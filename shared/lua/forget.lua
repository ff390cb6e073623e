-- Drops those of a player's generations of receipts that have ended. (model: forget)
-- KEYS  {user:ID}:receipts:a, {user:ID}:receipts:b
-- Returns  how many

local second = tonumber(redis.call('TIME')[1])
local dropped = 0
for _, key in ipairs(KEYS) do
  local ends = tonumber(redis.call('HGET', key, 'ends') or '') or 0
  if ends <= second then dropped = dropped + redis.call('UNLINK', key) end
end
return dropped
