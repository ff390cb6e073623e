-- The state of the sweep: begins one, moves it on, ends it. A sweep counts every player once into totals of its own; at
-- its end they become the totals. (model: begin, move, finish)
-- KEYS  {leaderboard:global}:totals, {leaderboard:global}:sweep
-- ARGV  'look' | 'join' (the running sweep, or a new one) | 'new' | 'move', number, position it is at, position to go to ('' for the end)
-- Returns  {number, position} of the sweep that is running now, {last number, ''} if none is

local totals, sweep = unpack(KEYS)
local word = ARGV[1]
local number, position = unpack(redis.call('HMGET', sweep, 'number', 'position'))
local function counts(text) return string.match(text or '', '^%d+$') and #text <= 15 end
local last = redis.call('HGET', totals, 'sweeps')
if not counts(last) then last = '0' end
-- A sweep that somebody has made unreadable counts as none: the next begins anew. A cursor has 64 bits.
local phase, cursor = string.match(position or '', '^(%l+) (%d+)$')
local follows = phase == 'profiles' or phase == 'rows' or phase == 'members'
if follows then follows = #cursor < 20 or (#cursor == 20 and cursor <= '18446744073709551615') end
if not (counts(number) and follows) then number = false end

-- A deletion comes first: it can be done when memory is full, and then so can what follows. A sweep makes room.
if word == 'new' or (word == 'join' and not number) then
  -- By the clock, so that no two sweeps have the same number, even if the totals were lost.
  number = math.max(tonumber(last) + 1, tonumber(redis.call('TIME')[1]))
  number = string.format('%.0f', number)
  position = 'profiles 0'
  redis.call('DEL', sweep)
  redis.call('HSET', totals, 'sweeps', number)
  redis.call('HSET', sweep, 'number', number, 'position', position, 'totalGames', '0', 'totalScore', '0')
elseif word == 'move' and number == ARGV[2] and position == ARGV[3] then
  position = ARGV[4]
  if position ~= '' then
    redis.call('HDEL', sweep, 'position')
    redis.call('HSET', sweep, 'position', position)
  else
    local games, score, high = unpack(redis.call('HMGET', sweep, 'totalGames', 'totalScore', 'highScore'))
    redis.call('DEL', sweep)
    redis.call('HSET', totals, 'totalGames', games, 'totalScore', score, 'highScore', high or '0', 'sweep', number)
  end
elseif word ~= 'look' and word ~= 'join' and word ~= 'move' then
  return redis.error_reply('ERR sweep: no such word')
end
return {number or last, number and position or ''}
