-- Gives a profile that is older than its row a new revision, so that it can be projected. (model: renew)
-- KEYS  user:{id}
-- ARGV  the revision read, a revision to be newer than, the fields to return
-- Returns  these fields of the profile as it is now, renewed or moved on by itself

local revision = redis.call('HGET', KEYS[1], 'revision')
if revision == ARGV[1] then
  local time = redis.call('TIME')
  revision = string.format('%.0f', math.max(tonumber(revision) + 1, tonumber(ARGV[2]) + 1, time[1] * 1000000 + time[2]))
  redis.call('HSET', KEYS[1], 'revision', revision)
end
return redis.call('HMGET', KEYS[1], unpack(ARGV, 3))
