-- Brings the board, its names and its totals to a player's state at a revision. State-based: it may be repeated,
-- reordered and skipped, and the end is the same.
-- KEYS  leaderboard:global, {leaderboard:global}:players, {leaderboard:global}:totals
-- ARGV  userId, revision, score, gamesPlayed, bestScore, username
-- Returns  1 if the board moved, 0 if it stood at this revision or a newer one

local board, players, totals = unpack(KEYS)
local user, revision, score, games, best, username = unpack(ARGV)

-- A total is decimal text of any length, added to in limbs of 12 digits: every step is exact in a double, and no sum
-- can overflow.
local LIMB = 1e12
local function add(total, number)
  local sign, digits = string.match(total or '0', '^(-?)(%d+)$')
  local high, low = tonumber(string.sub(digits, 1, -13)) or 0, tonumber(string.sub(digits, -12))
  if sign == '-' then high, low = -high, -low end
  low = low + math.fmod(number, LIMB)
  high = high + (number - math.fmod(number, LIMB)) / LIMB + math.floor(low / LIMB)
  low = low % LIMB
  if high < 0 and low > 0 then high, low = high + 1, low - LIMB end
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%012.0f', high, math.abs(low))
end

local row = redis.call('HGET', players, user)
local seen, seen_games = string.match(row or '0 0 ', '^(%d+) (%d+) ')
if tonumber(revision) <= tonumber(seen) then return 0 end

local seen_score = redis.call('ZSCORE', board, user) or '0'
local all_games, all_score, high_score = unpack(redis.call('HMGET', totals, 'totalGames', 'totalScore', 'highScore'))
all_games = add(add(all_games, -tonumber(seen_games)), tonumber(games))
all_score = add(add(all_score, -tonumber(seen_score)), tonumber(score))
if not high_score or tonumber(best) > tonumber(high_score) then high_score = best end

redis.call('HSET', players, user, revision .. ' ' .. games .. ' ' .. username)
redis.call('ZADD', board, score, user)
redis.call('HSET', totals, 'totalGames', all_games, 'totalScore', all_score, 'highScore', high_score)
return 1
