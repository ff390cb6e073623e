-- A player and the neighbours on the board, best first.
-- KEYS  leaderboard:global, {leaderboard:global}:players
-- ARGV  userId, how many on each side
-- Returns  nil if the board does not have the player, else {index of the first, {userId, score, …}, {row or nil, …}}

local board, players = unpack(KEYS)
local index = redis.call('ZREVRANK', board, ARGV[1])
if not index then return nil end
local first = math.max(0, index - ARGV[2])
local flat = redis.call('ZRANGE', board, first, index + ARGV[2], 'REV', 'WITHSCORES')
local users = {}
for i = 1, #flat, 2 do users[#users + 1] = flat[i] end
return {first, flat, redis.call('HMGET', players, unpack(users))}
