-- Gives a profile that is older than its row a new revision, so that it can be projected; or a mark. (model: renew)
-- KEYS  user:{id}, or {user:ID}:erased
-- ARGV  the revision read, a revision to be newer than, the fields to return
-- Returns  these fields as they are now, renewed or moved on by itself

local revision = redis.call('HGET', KEYS[1], 'revision')
if revision == ARGV[1] then
  local time = redis.call('TIME')
  revision = string.format('%.0f', math.max(tonumber(revision) + 1, tonumber(ARGV[2]) + 1, time[1] * 1000000 + time[2]))
  redis.call('HSET', KEYS[1], 'revision', revision)
end
return redis.call('HMGET', KEYS[1], unpack(ARGV, 3))
