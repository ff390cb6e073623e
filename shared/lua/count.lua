-- Counts a player as active on a day, if there is such a player. (model: count)
-- KEYS  {leaderboard:global}:active:DAY, leaderboard:global
-- ARGV  userId
-- Returns  nothing: where it cannot be counted, nobody should fail

if redis.call('ZSCORE', KEYS[2], ARGV[1]) then redis.pcall('PFADD', KEYS[1], ARGV[1]) end
