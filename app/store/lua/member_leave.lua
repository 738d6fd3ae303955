-- include: _entry.lua
-- A socket is no longer a member of a room; those who stay hear what it left for that when it entered.
-- KEYS 3 log, 4 last, 5 members, 6 roster, 7 the index of rooms, 8 socket
-- ARGV 6 channel, 7 generation, or '' where another node's server says so, 8 sid, 9 the room's field, 10 body
--      without a packet, 11 what a socket whose client may come back remembers: its 'stay', the 'room' so that it can
--      enter it again, or 'nothing'
-- Returns 'ok <clock>', 'absent' or 'stale'.
local reply = begin()
if reply then return reply end
local log, last, members, roster, rooms, socket = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local sid, field = ARGV[8], ARGV[9]
if stale(socket, ARGV[7]) then return finish('stale') end
local member = redis.call('HGET', members, sid)
if not member then
  if ARGV[11] ~= 'room' then redis.call('HDEL', socket, 'x:' .. field) end
  return finish('absent')
end
local entered, nickname = string.match(member, '^(%d+) %d+ %S+ (.*)$')

local farewell = redis.call('HGET', socket, 'f:' .. field) or ''
local clock = append(log, last, ARGV[6], tick(), ARGV[10] .. farewell)
if redis.call('HGET', roster, nickname) == sid then redis.call('HDEL', roster, nickname) end
redis.call('HDEL', members, sid)
if ARGV[11] == 'room' then
  redis.call('HSET', socket, 'x:' .. field, (redis.call('HGET', socket, 'r:' .. field) or entered) .. ' ' .. nickname)
elseif ARGV[11] == 'stay' then
  remember_stay(socket, field, clock)
end
redis.call('HDEL', socket, 'r:' .. field, 'f:' .. field)
local count = redis.call('HLEN', members)
if count > 0 then redis.call('ZADD', rooms, count, field) else redis.call('ZREM', rooms, field) end
keep_while_members(members, log, last)
return finish('ok ' .. clock)
