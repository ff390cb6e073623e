-- Opens a session once for its key: a session that has ended since is not opened again.
-- KEYS  session:{id}, {session:ID}:opened
-- ARGV  the session as JSON, seconds that it lives, seconds that the receipt lives, attempt id
-- Returns  the id of the attempt that opened it

local opened = redis.call('GET', KEYS[2])
if opened then return opened end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[3])
return ARGV[4]
