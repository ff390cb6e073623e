-- A page of the board with its names, best first.
-- KEYS  leaderboard:global, {leaderboard:global}:players
-- ARGV  first and last index from the top, 0-based, both included
-- Returns  {members, {userId, score, …}, {row or nil, …}}; a row is as in project.lua

local board, players = unpack(KEYS)
local flat = redis.call('ZRANGE', board, ARGV[1], ARGV[2], 'REV', 'WITHSCORES')
local users = {}
for i = 1, #flat, 2 do users[#users + 1] = flat[i] end
local rows = #users > 0 and redis.call('HMGET', players, unpack(users)) or {}
return {redis.call('ZCARD', board), flat, rows}
