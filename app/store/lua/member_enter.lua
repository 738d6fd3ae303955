-- include: _entry.lua
-- A socket becomes a member of a room, under a nickname that is unique there or under none.
-- KEYS 3 log, 4 last, 5 members, 6 roster, 7 the index of rooms, 8 socket, 9 the socket whose sid is the
--      room's name, if any (no room may be called like a socket)
-- ARGV 6 channel, 7 generation, 8 sid, 9 nickname or '', 10 node id, 11 the room's field, 12 body, 13 what
--      the room hears when it leaves (a packet's text or ''), from 14 on fields and values of the socket's
--      bound data to be set with it
-- Returns 'ok <clock>', 'already <clock>', 'taken', 'reserved' or 'stale'.
local reply = begin()
if reply then return reply end
local log, last, members, roster, socket = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[8]
local sid, nickname, field = ARGV[8], ARGV[9], ARGV[11]
-- Nor one that is away: it may be swept already, and nobody would look for it again.
if (redis.call('HGET', socket, 'n') or '') == '' or stale(socket, ARGV[7]) then return finish('stale') end
if redis.call('EXISTS', KEYS[9]) == 1 then return finish('reserved') end
local member = redis.call('HGET', members, sid)
if member then return finish('already ' .. string.match(member, '^%d+')) end
check(log, last)
if nickname ~= '' and redis.call('HSETNX', roster, nickname, sid) == 0 then return finish('taken') end

local clock = append(log, last, ARGV[6], tick(), ARGV[12])
keep(log, last)
redis.call('HSET', members, sid, clock .. ' ' .. ARGV[7] .. ' ' .. ARGV[10] .. ' ' .. nickname)
redis.call('ZADD', KEYS[7], redis.call('HLEN', members), field)
-- Who left only because it was away for too long is replayed what came meanwhile, should it break off again.
local lapsed = redis.call('HGET', socket, 'x:' .. field)
redis.call('HSET', socket, 'r:' .. field, lapsed and string.match(lapsed, '^%d+') or clock, 'f:' .. field, ARGV[13])
redis.call('HDEL', socket, 'x:' .. field)
for at = 14, #ARGV, 2 do redis.call('HSET', socket, ARGV[at], ARGV[at + 1]) end
return finish('ok ' .. clock)
