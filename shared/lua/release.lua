-- Gives a key back that a refused request has claimed, unless somebody else has claimed it since.
-- KEYS  submission:KEY
-- ARGV  the claim

if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
