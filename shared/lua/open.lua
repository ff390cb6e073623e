-- Opens a session once for the key from which its id follows: one that has ended is not opened again. (model: open)
-- KEYS  session:{id}, {session:ID}:opened
-- ARGV  the session as JSON, seconds that it lives, what is kept of its opening, seconds that this is kept
-- Returns  {what was kept of the first opening, '' if that was evicted, the session as it is stored, '' if it has ended}

local opened, session = redis.call('GET', KEYS[2]), redis.call('GET', KEYS[1])
if opened or session then return {opened or '', session or ''} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
return {ARGV[3], ARGV[1]}
