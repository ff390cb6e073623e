-- One submission, whole or not at all and once for its key, in the slot of its player. (model: submit, replay, stale, refuse, expire)
-- KEYS  user:{id}, then for a client's key {user:ID}:receipts:a and {user:ID}:receipts:b,
--       without one {user:ID}:submission:ATTEMPT
-- ARGV  operator (create | set | best | increment | decrement), amount, lowest and highest score allowed, largest change
--       allowed ('' for any), points per level, attempt id (12 characters), attempt time (ms since 1970), furthest that this
--       may be from the server's (ms), attempt time (ISO-8601, ms, Z), name of the client's key, payload digest (16
--       characters), seconds that the receipt lives at least, most receipts of one generation;
--       for create also userId, username, e-mail
-- Returns  {'missing'} | {'taken'} | {'reused'} | {'stale'} | {'outside', lowest, highest score allowed} |
--          {'below' | 'above' | 'step' | 'games', the bound} | {'many', seconds until there is room} |
--          {'done' | 'replayed', revision, score, gamesPlayed, bestScore, username, e-mail, level, createdAt, lastActive,
--          id of the attempt that did it, operator, previous score, score then}; numbers as decimal text
--
-- A receipt is text of 64 bytes at most, so that a hash of them stays compact: attempt id, digest, first letter of the
-- operator, previous score, a blank, score then. Those of keys lie in two generations without a TTL, which nothing evicts.
-- One of them takes receipts for a life from the second it was `born`, and counts until the second `ends`, a life after its
-- last receipt; then it is dropped and born anew. So every receipt lives for one life at least and two at most.

local profile = KEYS[1]
local operator, amount, lowest, highest, largest_step, points_per_level,
  attempt, sent, tolerance, now, name, digest, life, most = unpack(ARGV)

local LARGEST = 9007199254740991 -- beyond it a double skips whole numbers
local LETTERS = {create = 'c', set = 's', best = 'b', increment = 'i', decrement = 'd'}
local OPERATORS = {}
for word, letter in pairs(LETTERS) do OPERATORS[letter] = word end
if not LETTERS[operator] then return redis.error_reply('ERR submit: no such operator') end

local function text(number) -- tostring loses digits above 10^14
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local second = tonumber(time[1])

local function generation(key)
  local born, ends, receipt = unpack(redis.call('HMGET', key, 'born', 'ends', name))
  local one = {key = key, born = tonumber(born or '') or 0, ends = tonumber(ends or '') or 0}
  one.receipt = one.ends > second and receipt
  return one
end

local receipt, young, old
if KEYS[3] then
  young, old = generation(KEYS[2]), generation(KEYS[3])
  if old.born > young.born then young, old = old, young end
  receipt = young.receipt or old.receipt
else
  receipt = redis.call('GET', KEYS[2])
end

local revision, score, games, best, username, email, level, created, active = unpack(redis.call('HMGET', profile,
  'revision', 'score', 'gamesPlayed', 'bestScore', 'username', 'email', 'level', 'createdAt', 'lastActive'))

-- The key was used before: the same payload has its facts again, another is refused. Nothing changes, so this needs no fence.
if receipt then
  if string.sub(receipt, 13, 28) ~= digest then return {'reused'} end
  if revision then
    local previous, after = string.match(receipt, '^(%-?%d+) (%-?%d+)$', 30)
    return {'replayed', revision, score, games, best, username, email, level, created, active,
      string.sub(receipt, 1, 12), OPERATORS[string.sub(receipt, 29, 29)], previous, after}
  end
end

-- The deployment's range may have been another for the key's first request, so it has its say only now.
amount = tonumber(amount)
if operator == 'create' or operator == 'set' then
  if amount < tonumber(lowest) or amount > tonumber(highest) then return {'outside', lowest, highest} end
end

-- The fence: an attempt that comes late (a frozen container, a wrong clock) might find its intent cleared already.
if math.abs(time[1] * 1000 + time[2] / 1000 - sent) > tonumber(tolerance) then return {'stale'} end

local before, after, start -- start: what a step counts from
if operator == 'create' then
  if revision then return {'taken'} end
  username, email, created, active, games, best = ARGV[16], ARGV[17], now, now, 0, amount
  before, after = 0, amount
  start = math.min(math.max(0, tonumber(lowest)), tonumber(highest))
else
  if not revision then return {'missing'} end
  before, games = tonumber(score), tonumber(games) + 1
  start = before
  if operator == 'set' then after = amount
  elseif operator == 'best' then after = math.max(before, amount)
  elseif operator == 'increment' then after = before + amount
  elseif operator == 'decrement' then after = before - amount
  end
  best = math.max(tonumber(best), after)
  if active < now then active = now end
  if games > LARGEST then return {'games', text(LARGEST)} end
end
if largest_step ~= '' and math.abs(after - start) > tonumber(largest_step) then return {'step', largest_step} end
-- A score that stays what it is is nobody's to refuse, even where the bounds have been moved since.
if after ~= before then
  if after < tonumber(lowest) then return {'below', lowest} end
  if after > tonumber(highest) then return {'above', highest} end
end

-- Which generation takes the receipt. Without a TTL their number needs a limit, or one client could fill the memory.
life = tonumber(life)
local anew = false
if KEYS[3] then
  local full = math.max(young.born + life, old.ends) - second -- from then on the other one takes them
  if full <= 0 then
    young, anew = old, true
  elseif operator ~= 'create' and redis.call('HLEN', young.key) - 2 >= tonumber(most) then
    return {'many', text(full)}
  end
end

-- Newer than any revision that the board ever saw, even where this slot has lost its last writes.
revision = text(math.max((tonumber(revision) or 0) + 1, time[1] * 1000000 + time[2]))
level = text(math.max(1, math.floor(after / points_per_level) + 1))
score, games, best, before = text(after), text(games), text(best), text(before)

-- The first write is one that a full memory refuses: then none of them happens.
redis.call('HSET', profile, 'score', score, 'level', level, 'gamesPlayed', games, 'lastActive', active,
  'bestScore', best, 'revision', revision)
if operator == 'create' then
  redis.call('HSET', profile, 'userId', ARGV[15], 'username', username, 'email', email, 'createdAt', created)
end
receipt = attempt .. digest .. LETTERS[operator] .. before .. ' ' .. score
if not KEYS[3] then
  redis.call('SET', KEYS[2], receipt, 'EX', life)
elseif anew then
  redis.call('UNLINK', young.key)
  redis.call('HSET', young.key, 'born', text(second), 'ends', text(second + life + 1), name, receipt)
else
  redis.call('HSET', young.key, 'ends', text(math.max(young.ends, second + life + 1)), name, receipt)
end
return {'done', revision, score, games, best, username, email, level, created, active, attempt, operator, before, score}
