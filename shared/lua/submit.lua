-- One submission, whole or not at all and once for its key, in the slot of its player. (model: submit, replay, stale, refuse, expire)
-- KEYS  user:{id}, {user:ID}:submission:KEY
-- ARGV  operator (create | set | best | increment | decrement), amount, lowest and highest score allowed, largest change
--       allowed ('' for any), points per level, attempt id, attempt time (ms since 1970), furthest that this may be from
--       the server's (ms), attempt time (ISO-8601, ms, Z), payload digest, seconds that the receipt lives;
--       for create also userId, username, e-mail
-- Returns  {'missing'} | {'taken'} | {'reused'} | {'stale'} | {'below' | 'above' | 'step' | 'games', the bound} |
--          {'done' | 'replayed', revision, score, gamesPlayed, bestScore, username, e-mail, level, createdAt, lastActive,
--          submissionId, operator, applied (0 | 1), previous score, score then}; numbers as decimal text

local profile, receipt = KEYS[1], KEYS[2]
local operator, amount, lowest, highest, largest_step, points_per_level,
  attempt, sent, tolerance, now, digest, lifetime = unpack(ARGV)

local LARGEST = 9007199254740991 -- beyond it a double skips whole numbers
local function text(number) -- tostring loses digits above 10^14
  return string.format('%.0f', number)
end

local revision, score, games, best, username, email, level, created, active = unpack(redis.call('HMGET', profile,
  'revision', 'score', 'gamesPlayed', 'bestScore', 'username', 'email', 'level', 'createdAt', 'lastActive'))

-- The key was used before: the same payload has its facts again, another is refused. Nothing changes, so this needs no fence.
local kept = redis.call('HMGET', receipt, 'digest', 'submissionId', 'operator', 'applied', 'previousScore', 'score')
if kept[1] and kept[1] ~= digest then return {'reused'} end
if kept[1] and revision then
  return {'replayed', revision, score, games, best, username, email, level, created, active, unpack(kept, 2)}
end

-- The fence: an attempt that comes late (a frozen container, a wrong clock) might find its intent cleared already.
local time = redis.call('TIME')
if math.abs(time[1] * 1000 + time[2] / 1000 - sent) > tonumber(tolerance) then return {'stale'} end

amount = tonumber(amount)
local before, after, applied, start -- start: what a step counts from
if operator == 'create' then
  if revision then return {'taken'} end
  username, email, created, active, games, best = ARGV[14], ARGV[15], now, now, 0, amount
  before, after, applied = 0, amount, true
  start = math.min(math.max(0, tonumber(lowest)), tonumber(highest))
else
  if not revision then return {'missing'} end
  before, games = tonumber(score), tonumber(games) + 1
  start = before
  if operator == 'set' then after = amount
  elseif operator == 'best' then after = math.max(before, amount)
  elseif operator == 'increment' then after = before + amount
  elseif operator == 'decrement' then after = before - amount
  else return redis.error_reply('ERR submit: no such operator') end
  applied = operator ~= 'best' or amount > before
  best = math.max(tonumber(best), after)
  if active < now then active = now end
  if games > LARGEST then return {'games', text(LARGEST)} end
end
if largest_step ~= '' and math.abs(after - start) > tonumber(largest_step) then return {'step', largest_step} end
-- A score that stays what it is is nobody's to refuse, even where the bounds have been moved since.
if operator == 'create' or after ~= before then
  if after < tonumber(lowest) then return {'below', lowest} end
  if after > tonumber(highest) then return {'above', highest} end
end

-- Newer than any revision that the board ever saw, even where this slot has lost its last writes.
revision = text(math.max((tonumber(revision) or 0) + 1, time[1] * 1000000 + time[2]))
level = text(math.max(1, math.floor(after / points_per_level) + 1))
score, games, best, before, applied = text(after), text(games), text(best), text(before), applied and '1' or '0'

-- The first write is one that a full memory refuses: then none of them happens.
redis.call('HSET', receipt, 'digest', digest, 'submissionId', attempt, 'operator', operator, 'applied', applied,
  'previousScore', before, 'score', score)
redis.call('EXPIRE', receipt, lifetime)
if operator == 'create' then
  redis.call('HSET', profile, 'userId', ARGV[13], 'username', username, 'email', email, 'createdAt', created)
end
redis.call('HSET', profile, 'score', score, 'level', level, 'gamesPlayed', games, 'lastActive', active,
  'bestScore', best, 'revision', revision)
return {'done', revision, score, games, best, username, email, level, created, active,
  attempt, operator, applied, before, score}
