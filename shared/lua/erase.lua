-- Erases a player: all that lies in their slot goes, and a mark stays, so that nothing late brings them back. (model: erase)
-- KEYS  user:{id}, {user:ID}:erased, {user:ID}:sessions, {user:ID}:pace, {user:ID}:receipts:a, {user:ID}:receipts:b
-- ARGV  attempt id, attempt time (ms since 1970), how far it may be from the server's (ms), seconds that the mark stays at least
-- Returns  {'missing'} | {'stale'} | {'done', id of the attempt that did it, the mark's revision, ids of their sessions with
--          blanks between}
-- The mark is a hash without a TTL, which nothing evicts: revision, attempt, second, the second it ends, sessions.

local profile, mark, sessions = unpack(KEYS)
local attempt, sent_milliseconds, fence_milliseconds, life = unpack(ARGV)

if redis.call('EXISTS', profile) == 0 then
  local by, revision, ids = unpack(redis.call('HMGET', mark, 'attempt', 'revision', 'sessions'))
  if not revision then return {'missing'} end
  return {'done', by or '', revision, ids or ''}
end
local time = redis.call('TIME')
if math.abs(time[1] * 1000 + time[2] / 1000 - sent_milliseconds) > tonumber(fence_milliseconds) then return {'stale'} end

local function text(number)
  return string.format('%.0f', number)
end

local before = tonumber(redis.call('HGET', profile, 'revision') or '') or 0
local revision = text(math.max(before + 1, time[1] * 1000000 + time[2]))
local ids = table.concat(redis.call('ZRANGE', sessions, 0, -1), ' ')

-- A deletion comes first: it can be done when memory is full, and then so can what follows.
redis.call('UNLINK', profile, sessions, KEYS[4], KEYS[5], KEYS[6])
redis.call('HSET', mark, 'revision', revision, 'attempt', attempt, 'second', time[1], 'ends', text(time[1] + life + 1),
  'sessions', ids)
return {'done', attempt, revision, ids}
