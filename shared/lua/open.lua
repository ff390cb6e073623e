-- Opens a session once for its key: a session that has ended since is not opened again.
-- KEYS  session:{id}, {session:ID}:opened
-- ARGV  the session as JSON, seconds that it lives, seconds that the receipt lives
-- Returns  1 if this opened it, 0 if it was opened before

if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], '', 'EX', ARGV[3])
return 1
