-- One submission, as a whole or not at all, and once for its key, in the slot of its player. (model: submit, replay, stale, refuse, limit, expire)
-- KEYS  user:{id}, {user:ID}:erased, then for a client's key {user:ID}:receipts:a and {user:ID}:receipts:b,
--       without one {user:ID}:submission:ATTEMPT
-- ARGV  operator (create | set | best | increment | decrement | correct), amount, lowest and highest score allowed, largest change
--       allowed ('' for any), points per level, attempt id (12 characters), attempt time (ms since 1970), how far it may
--       be from the server's (ms), attempt time (ISO-8601, ms, Z), name of the client's key, payload digest (16
--       characters), seconds that the receipt lives at least, most receipts of one generation, microseconds between two
--       submissions at an even pace (0 for any pace), how many may come at once;
--       for create also userId and what is in TOLD, for correct also the best score ('' for as it is)
-- Returns  {'missing'} | {'taken'} | {'reused'} | {'stale'} | {'outside', lowest, highest score allowed} |
--          {'below' | 'above' | 'step' | 'games', the bound} | {'many' | 'often', seconds until there is room} |
--          {'done' | 'replayed', id of the attempt that did it, operator, previous score, score then, and of the profile
--          revision, score, gamesPlayed, bestScore, level, createdAt, lastActive, hidden and what is in TOLD}; numbers as
--          decimal text
--
-- A receipt is text of 64 bytes at most, so that a hash of them stays compact: attempt id, digest, the
-- operator's letter, previous score, a blank, score then. Those of keys lie in two generations without a TTL, which nothing evicts.
-- One of them takes receipts for a life from the second it was `born`, and counts until the second `ends`, a life after its
-- last receipt; then it is dropped and born anew. So every receipt lives for one life at least and two at most.
-- The field `rate` says when the player's next submission would come at an even pace, in microseconds since 1970 (GCRA).

local TOLD = {'username', 'email'} -- what players tell us about themselves: it is kept as it comes

local operator, amount, score_min, score_max, score_step_max, points_per_level, attempt, sent_milliseconds,
  fence_milliseconds, sent, key_name, digest, receipt_seconds, receipts_max, interval_microseconds, burst = unpack(ARGV)

local LARGEST = 9007199254740991 -- beyond it a double skips whole numbers
local LETTERS = {create = 'c', set = 's', best = 'b', increment = 'i', decrement = 'd', correct = 'k'}
if not LETTERS[operator] then return redis.error_reply('ERR submit: no such operator') end

local function text(number) -- tostring loses digits above 10^14
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local second = tonumber(time[1])

local function generation(key)
  local born, ends, receipt = unpack(redis.call('HMGET', key, 'born', 'ends', key_name))
  local kept = {key = key, born = tonumber(born or '') or 0, ends = tonumber(ends or '') or 0}
  kept.receipt = kept.ends > second and receipt
  return kept
end

local receipt, young, old
if KEYS[4] then
  young, old = generation(KEYS[3]), generation(KEYS[4])
  if old.born > young.born then young, old = old, young end
  receipt = young.receipt or old.receipt
else
  receipt = redis.call('GET', KEYS[3])
end

local stored = redis.call('HMGET', KEYS[1],
  'revision', 'score', 'gamesPlayed', 'bestScore', 'level', 'createdAt', 'lastActive', 'hidden', unpack(TOLD))
local revision, score, games_played, best_score, level, created_at, last_active, hidden = unpack(stored)
local told = stored -- a list that ends with what is in TOLD

local function accepted(word, attempt, operator, previous_score, score_then)
  return {word, attempt, operator, previous_score, score_then,
    revision, score, games_played, best_score, level, created_at, last_active, hidden, unpack(told, #told - #TOLD + 1)}
end

-- The key was used before: the same payload gets its facts again, another is refused. Nothing changes, so this needs no fence.
if receipt then
  if string.sub(receipt, 13, 28) ~= digest then return {'reused'} end
  if revision then
    local previous, after = string.match(receipt, '^(%-?%d+) (%-?%d+)$', 30)
    local did
    for word, letter in pairs(LETTERS) do
      if letter == string.sub(receipt, 29, 29) then did = word end
    end
    return accepted('replayed', string.sub(receipt, 1, 12), did, previous, after)
  end
end

-- The deployment's range may have been different at the key's first request, so it is applied only now.
amount = tonumber(amount)
if operator == 'create' or operator == 'set' or operator == 'correct' then
  if amount < tonumber(score_min) or amount > tonumber(score_max) then return {'outside', score_min, score_max} end
end

-- The fence: an attempt that comes late (a frozen container, a wrong clock) might find its intent cleared already.
if math.abs(time[1] * 1000 + time[2] / 1000 - sent_milliseconds) > tonumber(fence_milliseconds) then return {'stale'} end

local before, after, start, rate -- start: what a step counts from
if operator == 'create' then
  -- Whoever was erased has a mark for as long as anything late can come: it would bring them back.
  if revision or redis.call('HGET', KEYS[2], 'revision') then return {'taken'} end
  told = ARGV
  created_at, last_active, games_played, best_score = sent, sent, 0, amount
  before, after = 0, amount
  start = math.min(math.max(0, tonumber(score_min)), tonumber(score_max))
else
  if not revision then return {'missing'} end
  local interval, now = tonumber(interval_microseconds), time[1] * 1000000 + time[2]
  if interval > 0 then
    local full = interval * burst
    rate = tonumber(redis.call('HGET', KEYS[1], 'rate') or '') or 0
    if rate > now + full then rate = 0 end -- nobody's pace gets so far: it was counted by a clock that was ahead
    rate = math.max(rate, now) + interval
    if rate > now + full then return {'often', text(math.ceil((rate - now - full) / 1000000))} end
  end
  before, games_played = tonumber(score), tonumber(games_played)
  start = before
  if operator == 'set' then after = amount
  elseif operator == 'best' then after = math.max(before, amount)
  elseif operator == 'increment' then after = before + amount
  elseif operator == 'decrement' then after = before - amount
  else after, start, best_score = amount, amount, tonumber(ARGV[#ARGV]) or best_score
  end
  best_score = math.max(tonumber(best_score), after)
  if operator ~= 'correct' then
    games_played = games_played + 1
    if last_active < sent then last_active = sent end
    if games_played > LARGEST then return {'games', text(LARGEST)} end
  end
end
if score_step_max ~= '' and math.abs(after - start) > tonumber(score_step_max) then return {'step', score_step_max} end
-- A score that does not change is never refused, even if the bounds have been moved since.
if after ~= before then
  if after < tonumber(score_min) then return {'below', score_min} end
  if after > tonumber(score_max) then return {'above', score_max} end
end

-- Which generation takes the receipt. They have no TTL, so one client could fill the memory if receipts had no limit.
local life = tonumber(receipt_seconds)
local anew = false
if KEYS[4] then
  local full = math.max(young.born + life, old.ends) - second -- from then on the other one takes them
  if full <= 0 then
    young, anew = old, true
  elseif operator ~= 'create' and redis.call('HLEN', young.key) - 2 >= tonumber(receipts_max) then
    return {'many', text(full)}
  end
end

-- Newer than any revision that the board has ever seen, even if this slot has lost its last writes.
revision = text(math.max((tonumber(revision) or 0) + 1, time[1] * 1000000 + time[2]))
level = text(math.max(1, math.floor(after / points_per_level) + 1))
score, games_played, best_score, before = text(after), text(games_played), text(best_score), text(before)

-- The first write is one that is refused when memory is full: then none of them happens.
redis.call('HSET', KEYS[1], 'score', score, 'level', level, 'gamesPlayed', games_played, 'lastActive', last_active,
  'bestScore', best_score, 'revision', revision)
if rate then redis.call('HSET', KEYS[1], 'rate', text(rate)) end
if operator == 'create' then
  local fields, user_id = {'createdAt', created_at}, #ARGV - #TOLD
  for index, field in ipairs({'userId', unpack(TOLD)}) do
    fields[2 * index + 1], fields[2 * index + 2] = field, ARGV[user_id + index - 1]
  end
  redis.call('HSET', KEYS[1], unpack(fields))
end
receipt = attempt .. digest .. LETTERS[operator] .. before .. ' ' .. score
if not KEYS[4] then
  redis.call('SET', KEYS[3], receipt, 'EX', life)
elseif anew then
  redis.call('UNLINK', young.key)
  redis.call('HSET', young.key, 'born', text(second), 'ends', text(second + life + 1), key_name, receipt)
else
  redis.call('HSET', young.key, 'ends', text(math.max(young.ends, second + life + 1)), key_name, receipt)
end
return accepted('done', attempt, operator, before, score)
