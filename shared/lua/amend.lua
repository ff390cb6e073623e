-- Gives fields of a profile other values, at a new revision, in the slot of its player. (model: amend)
-- KEYS  user:{id}, {user:ID}:submission:ATTEMPT
-- ARGV  attempt time (ms since 1970), how far it may be from the server's (ms), seconds that the attempt is remembered, how many
--       of the next are fields and values, field, value, …, the fields to return
-- Returns  {'missing'} | {'stale'} | {'done', whether the player was hidden before ('' for no), and these fields as they are now}

local profile, attempt = unpack(KEYS)
local sent_milliseconds, fence_milliseconds, seconds, given = unpack(ARGV)

-- The attempt's own second try finds what the first one met, and changes nothing.
local was = redis.call('GET', attempt)
if not was then
  local time = redis.call('TIME')
  if math.abs(time[1] * 1000 + time[2] / 1000 - sent_milliseconds) > tonumber(fence_milliseconds) then return {'stale'} end
  local revision, hidden = unpack(redis.call('HMGET', profile, 'revision', 'hidden'))
  if not revision then return {'missing'} end
  was = hidden or ''
  revision = string.format('%.0f', math.max(tonumber(revision) + 1, time[1] * 1000000 + time[2]))
  redis.call('HSET', profile, 'revision', revision, unpack(ARGV, 5, 4 + given))
  redis.call('SET', attempt, was, 'EX', seconds)
end
local stored = redis.call('HMGET', profile, 'revision', unpack(ARGV, 5 + given))
if not stored[1] then return {'missing'} end
return {'done', was, unpack(stored, 2)}
