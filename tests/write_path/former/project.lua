-- Brings the board, its rows and its totals to a player's state at a revision. State-based: it may be repeated, reordered
-- or skipped, and the result is the same. (model: project, remove)
-- KEYS  leaderboard:global, then of {leaderboard:global}: players, totals, sweep, pending, and if a request's submission
--       makes the player active, active:DAY
-- ARGV  userId, revision, score, gamesPlayed, bestScore, what everybody sees besides the score (text), the intent that this
--       settles, if any; a player without a profile has an empty score, and leaves the board if the row still has this
--       revision ('0' for no row)
-- Returns  {revision that the row has now ('0' for none), index before or -1, index now or -1, members, score on the board,
--          score of the member above, 1 if anything but the sweep's number has changed}; indexes from the top, 0-based;
--          scores as decimal text, '' for none
-- A row is 'revision score gamesPlayed sweep shown': what the totals hold of the player, the last sweep that counted it, and
-- what everybody sees besides the score.

local board, players, totals, sweep, pending, active = unpack(KEYS)
local user_id, revision, score, games_played, best_score, shown, intent = unpack(ARGV)

if score ~= '' and not string.match(score, '^%-?%d+$') then
  return redis.error_reply('ERR project: the score is not a whole number')
end

-- The intent first, even if there is none: a removal can be done when memory is full, and then what follows as well.
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
    all_games = add(add(all_games, -held_games), tonumber(games_played))
    all_score = add(add(all_score, -held_score), tonumber(score))
    local highest = tonumber(string.match(high_score or '', '^-?%d+$') or '') or -math.huge
    if tonumber(best_score) > highest then high_score = best_score end
  end
  redis.call('HSET', key, 'totalGames', all_games, 'totalScore', all_score, 'highScore', high_score or '0')
end

local row_revision, row_score, row_games_played, row_counted_in, row_shown =
  string.match(redis.call('HGET', players, user_id) or '', '^(%d+) (%-?%d+) (%d+) (%d+) (.*)$')
if not row_revision or #row_revision > 16 then
  row_revision, row_score, row_games_played, row_counted_in = '0', '0', '0', '-1'
end

local index_before = redis.call('ZREVRANK', board, user_id) or -1
local wanted = tonumber(revision) >= tonumber(row_revision)
if score == '' then wanted = revision == row_revision end
local mended = 0
if wanted then
  local listed = redis.call('ZSCORE', board, user_id)
  if score == '' then
    if listed or row_revision ~= '0' then mended = 1 end
  elseif not listed or tonumber(listed) ~= tonumber(score) or row_revision ~= revision or row_score ~= score
    or row_games_played ~= games_played or row_shown ~= shown then
    mended = 1
  end
  row_counted_in = tonumber(row_counted_in)
  local swept = tonumber(redis.call('HGET', totals, 'sweep') or '') or 0
  local sweeping = tonumber(redis.call('HGET', sweep, 'number') or '')
  move(totals, row_counted_in >= swept, tonumber(row_score), tonumber(row_games_played))
  if sweeping then move(sweep, row_counted_in == sweeping, tonumber(row_score), tonumber(row_games_played)) end
  if score == '' then
    redis.call('HDEL', players, user_id)
    redis.call('ZREM', board, user_id)
    row_revision = '0'
  else
    local counted_in = string.format('%.0f', sweeping or swept)
    redis.call('HSET', players, user_id, table.concat({revision, score, games_played, counted_in, shown}, ' '))
    redis.call('ZADD', board, score, user_id)
    row_revision = revision
  end
end

-- Whoever has projected this before: it is the request that makes the player active. Nothing fails if it cannot be counted.
if active then redis.pcall('PFADD', active, user_id) end

local index_now, board_score, score_above = -1, '', ''
local found = redis.call('ZREVRANK', board, user_id, 'WITHSCORE')
if found then
  index_now, board_score = found[1], found[2]
  if index_now > 0 then score_above = redis.call('ZRANGE', board, index_now - 1, index_now - 1, 'REV', 'WITHSCORES')[2] end
end
local total_players = redis.call('ZCARD', board)
return {row_revision, index_before, index_now, total_players, board_score, score_above, mended}
