-- What every script that writes for a node shares; put before those that say `-- include: _entry.lua`.
--
-- KEYS 1 writer (hash), 2 clock (string)
-- ARGV 1 number of this call, 2 number of the first call in its pipeline, 3 highest clock the node has seen,
--      4 entries a log keeps at most, 5 how many seconds old they get, and how long a log outlives its room's
--      last member
--
-- Calls of one node are applied in order of their numbers, each once: a repeated pipeline finds its replies
-- stored, and after a call that failed none behind it is applied (the node sends those again).

local WRITER_TTL_S = 86400 -- a day: longer than any pipeline is repeated

-- nil where this call is to be applied; else what to return.
local function begin()
  local number = tonumber(ARGV[1])
  local applied = tonumber(redis.call('HGET', KEYS[1], 'applied') or '0')
  if number <= applied then
    return redis.call('HGET', KEYS[1], ARGV[1]) or 'forgotten'
  end
  if ARGV[1] ~= ARGV[2] and number ~= applied + 1 then
    return redis.error_reply('OUTOFORDER call ' .. ARGV[1] .. ' came after call ' .. applied)
  end
  return nil
end

-- Stores `reply` under this call's number and returns it. It comes last: Redis looks at `maxmemory` before a
-- script's first write only, and forgetting the former replies is one that it always allows.
local function finish(reply)
  if ARGV[1] == ARGV[2] then
    redis.call('DEL', KEYS[1])
  end
  redis.call('HSET', KEYS[1], 'applied', ARGV[1], ARGV[1], reply)
  if ARGV[1] == ARGV[2] then
    redis.call('EXPIRE', KEYS[1], WRITER_TTL_S)
  end
  return reply
end

-- Raises where a log cannot be appended to, before anything was written: a script is all or nothing.
local function check(log, last)
  redis.call('XLEN', log)
  redis.call('STRLEN', last)
end

-- The next clock, in µs, as a string: above the last one and above all that the node has seen, so that it
-- does not run back after a failover to a copy that lags or to a host whose time does.
local function tick()
  local time = redis.call('TIME')
  local clock = time[1] .. string.sub('00000' .. time[2], -6)
  local last = redis.call('SET', KEYS[2], clock, 'GET') or '0'
  local least = math.max(last, ARGV[3]) + 1
  if tonumber(clock) < least then
    clock = string.format('%.0f', least)
    redis.call('SET', KEYS[2], clock)
  end
  return clock
end

-- The second of a clock.
local function second(clock)
  return string.sub(clock, 1, -7)
end

-- Numbers, stores and publishes one entry. What is too old goes at most once a second, with the second's first
-- entry: looking for it each time would be a tenth of an append.
local function append(log, last, channel, clock, body)
  local prev = redis.call('GET', last) or '0'
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[4], clock .. '-0', 'p', prev, 'b', body)
  if second(clock) ~= second(prev) then
    redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', clock - ARGV[5] * 1000000))
  end
  redis.call('SET', last, clock)
  redis.call('PUBLISH', channel, clock .. ' ' .. prev .. ' ' .. body)
  return clock
end

-- Publishes without storing; it has a clock, so that it keeps its place among the entries.
local function publish(channel, body)
  local clock = tick()
  redis.call('PUBLISH', channel, clock .. ' - ' .. body)
  return clock
end

-- Whether the acting connection has lost its socket. No generation: nobody acts, nothing to lose.
local function stale(socket, generation)
  return generation ~= '' and redis.call('HGET', socket, 'g') ~= generation
end

-- The clock at which a client has sent this message before, if it has: `id` is the client's own, '' for none.
local function sent_before(sent, id)
  return id ~= '' and redis.call('ZSCORE', sent, id)
end

-- Remembers that a client has sent this message; of its newest ones, and for a while.
local function remember(sent, id, clock, most, ttl_s)
  if id == '' then return end
  redis.call('ZADD', sent, clock, id)
  redis.call('ZREMRANGEBYRANK', sent, 0, -most - 1)
  redis.call('EXPIRE', sent, ttl_s)
end

local STAYS_MAX = 32 -- that a session remembers; more in three minutes is somebody who tries rooms out

-- A socket whose client may come back has left a room: what came before is still to be replayed. Stays that ended
-- longer ago than logs go back are forgotten, and of too many the oldest; `u` tells of the newest of these.
local function remember_stay(socket, field, clock)
  local entered = redis.call('HGET', socket, 'r:' .. field)
  if not entered or redis.call('HEXISTS', socket, 'l') == 0 then return end
  local stays, forgotten = {}, nil
  for stay in string.gmatch(redis.call('HGET', socket, 'y') or '', '[^\n]+') do stays[#stays + 1] = stay end
  stays[#stays + 1] = clock .. ' ' .. entered .. ' ' .. field
  while #stays > STAYS_MAX or tonumber(string.match(stays[1], '^%d+')) < clock - ARGV[5] * 1000000 do
    forgotten = string.match(table.remove(stays, 1), '^%d+')
  end
  redis.call('HSET', socket, 'y', table.concat(stays, '\n'))
  if forgotten then redis.call('HSET', socket, 'u', forgotten) end
end

-- A room without members keeps its log for a while, one with members for as long as they stay.
local function keep_while_members(members, log, last)
  if redis.call('EXISTS', members) == 0 then
    redis.call('EXPIRE', log, ARGV[5])
    redis.call('EXPIRE', last, ARGV[5])
  end
end

local function keep(log, last)
  redis.call('PERSIST', log)
  redis.call('PERSIST', last)
end
