-- Brings the board, its rows and its totals to a player's state at a revision. State-based: it may be repeated, reordered
-- and skipped, and the end is the same. (model: project, remove)
-- KEYS  leaderboard:global, then of {leaderboard:global}: players, totals, sweep, pending
-- ARGV  userId, revision, score, gamesPlayed, bestScore, username, the intent that this settles, if any;
--       a player without a profile has an empty score, and leaves the board if the row still has this revision ('0' for no row)
-- Returns  {revision that the row has now ('0' for none), index before or -1, index now or -1, members, score on the board,
--          score of the member above, 1 if anything but the sweep's number has changed}; indexes from the top, 0-based; scores as decimal text, '' for none
-- A row is 'revision score gamesPlayed sweep username': what the totals hold of the player, and the last sweep that counted it.

local board, players, totals, sweep, pending = unpack(KEYS)
local user, revision, score, games, best, username, intent = unpack(ARGV)

if score ~= '' and not string.match(score, '^%-?%d+$') then
  return redis.error_reply('ERR project: the score is no whole number')
end

-- The intent first, if only in form: this can be done when memory is full, and what follows then as well.
redis.call('ZREM', pending, intent or '')

-- A total is decimal text of any length, added to in limbs of 12 digits: every step is exact in a double, no sum overflows.
local LIMB = 1e12
local function add(total, number)
  local sign, digits = string.match(total or '0', '^(-?)(%d+)$')
  if not digits then sign, digits = '', '0' end -- malformed: the next sweep counts anew
  local high, low = tonumber(string.sub(digits, 1, -13)) or 0, tonumber(string.sub(digits, -12))
  if sign == '-' then high, low = -high, -low end
  local rest = math.fmod(number, LIMB)
  low = low + rest
  high = high + (number - rest) / LIMB + math.floor(low / LIMB)
  low = low % LIMB
  if high < 0 and low > 0 then high, low = high + 1, low - LIMB end
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%012.0f', high, math.abs(low))
end

-- Moves the totals in a hash from what they hold of this player to the new state.
local function move(key, held, held_score, held_games)
  local all_games, all_score, high_score = unpack(redis.call('HMGET', key, 'totalGames', 'totalScore', 'highScore'))
  if not held then held_score, held_games = 0, 0 end
  if score == '' then
    all_games, all_score = add(all_games, -held_games), add(all_score, -held_score)
  else
    all_games = add(add(all_games, -held_games), tonumber(games))
    all_score = add(add(all_score, -held_score), tonumber(score))
    if tonumber(best) > (tonumber(string.match(high_score or '', '^-?%d+$') or '') or -math.huge) then high_score = best end
  end
  redis.call('HSET', key, 'totalGames', all_games, 'totalScore', all_score, 'highScore', high_score or '0')
end

local seen, seen_score, seen_games, counted_in, seen_name =
  string.match(redis.call('HGET', players, user) or '', '^(%d+) (%-?%d+) (%d+) (%d+) (.*)$')
if not seen or #seen > 16 then seen, seen_score, seen_games, counted_in = '0', '0', '0', '-1' end

local before = redis.call('ZREVRANK', board, user)
local wanted = tonumber(revision) >= tonumber(seen)
if score == '' then wanted = revision == seen end
local mended = 0
if wanted then
  local listed = redis.call('ZSCORE', board, user)
  if score == '' then
    if listed or seen ~= '0' then mended = 1 end
  elseif not listed or tonumber(listed) ~= tonumber(score) or seen ~= revision or seen_score ~= score
    or seen_games ~= games or seen_name ~= username then
    mended = 1
  end
  counted_in = tonumber(counted_in)
  local swept = tonumber(redis.call('HGET', totals, 'sweep') or '') or 0
  local sweeping = tonumber(redis.call('HGET', sweep, 'number') or '')
  move(totals, counted_in >= swept, tonumber(seen_score), tonumber(seen_games))
  if sweeping then move(sweep, counted_in == sweeping, tonumber(seen_score), tonumber(seen_games)) end
  if score == '' then
    redis.call('HDEL', players, user)
    redis.call('ZREM', board, user)
    seen = '0'
  else
    redis.call('HSET', players, user,
      table.concat({revision, score, games, string.format('%.0f', sweeping or swept), username}, ' '))
    redis.call('ZADD', board, score, user)
    seen = revision
  end
end

local found = redis.call('ZREVRANK', board, user, 'WITHSCORE')
if not found then return {seen, before or -1, -1, redis.call('ZCARD', board), '', '', mended} end
local index, own, above = found[1], found[2], ''
if index > 0 then above = redis.call('ZRANGE', board, index - 1, index - 1, 'REV', 'WITHSCORES')[2] end
return {seen, before or -1, index, redis.call('ZCARD', board), own, above, mended}
