-- Opens a session that its player's record knows, and with a key once: one that has ended is not opened again. (model: open, stale)
-- KEYS  session:{id}, and for a key {session:ID}:opened
-- ARGV  the session as JSON, seconds that it lives, the second at which it ends by the record, attempt time (ms since 1970),
--       how far it may be from the server's (ms); with a key also what is kept of its opening, seconds that this is kept
-- Returns  {what was kept of the first opening, '' without a key or if that was evicted, the session as it is stored, '' if
--          it has ended} | {'stale'}

local opened, session = KEYS[2] and redis.call('GET', KEYS[2]), redis.call('GET', KEYS[1])
if opened or session then return {opened or '', session or ''} end

-- The fence: whoever erases the player waits as long for the sessions that the record knows, and none outlives its entry.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[4]) > tonumber(ARGV[5]) or ARGV[3] * 1000 <= now then return {'stale'} end

redis.call('SET', KEYS[1], ARGV[1], 'PXAT', string.format('%.0f', math.min(now + ARGV[2] * 1000, ARGV[3] * 1000)))
if not KEYS[2] then return {'', ARGV[1]} end
redis.call('SET', KEYS[2], ARGV[6], 'EX', ARGV[7])
return {ARGV[6], ARGV[1]}
