-- One submission, whole or not at all, in the slot of its player.
-- KEYS  user:{id}
-- ARGV  operator (create | set), score, lowest and highest score allowed, points per level, time (ISO-8601, ms, Z);
--       for create also userId, username, e-mail
-- Returns  {'missing'} | {'taken'} | {'out of bounds'} | {'done', revision, username, e-mail, score, level, gamesPlayed,
--          createdAt, lastActive, bestScore}; numbers as decimal text

local profile = KEYS[1]
local operator, score, lowest, highest, points_per_level, now = unpack(ARGV)
score, lowest, highest = tonumber(score), tonumber(lowest), tonumber(highest)

local function text(number) -- tostring loses digits above 10^14
  return string.format('%.0f', number)
end

local revision, username, email, games, created, active, best =
  unpack(redis.call('HMGET', profile, 'revision', 'username', 'email', 'gamesPlayed', 'createdAt', 'lastActive', 'bestScore'))

if operator == 'create' then
  if revision then return {'taken'} end
  username, email, created, active, games, best = ARGV[8], ARGV[9], now, now, 0, score
else
  if not revision then return {'missing'} end
  games, best = tonumber(games) + 1, math.max(tonumber(best), score)
  if active < now then active = now end
end
if score < lowest or score > highest then return {'out of bounds'} end

-- Newer than any revision that the board ever saw, even where this slot has lost its last writes.
local time = redis.call('TIME')
revision = text(math.max((tonumber(revision) or 0) + 1, time[1] * 1000000 + time[2]))

local level = text(math.max(1, math.floor(score / points_per_level) + 1))
score, games, best = text(score), text(games), text(best)
if operator == 'create' then
  redis.call('HSET', profile, 'userId', ARGV[7], 'username', username, 'email', email, 'createdAt', created)
end
redis.call('HSET', profile, 'score', score, 'level', level, 'gamesPlayed', games, 'lastActive', active,
  'bestScore', best, 'revision', revision)
return {'done', revision, username, email, score, level, games, created, active, best}
