-- include: _entry.lua
-- All members of a room leave it at once.
-- KEYS 3 log, 4 last, 5 members, 6 roster, 7 the index of rooms, from 8 on the members' sockets
-- ARGV 6 channel, 7 the room's field, 8 body, from 9 on the members' sids, in the order of their sockets
-- Returns 'ok <clock>', 'absent', or 'changed' where the members are not those given.
local reply = begin()
if reply then return reply end
local members, count = KEYS[5], #ARGV - 8
if redis.call('EXISTS', members) == 0 then return finish('absent') end
if redis.call('HLEN', members) ~= count then return finish('changed') end
for at = 1, count do
  if redis.call('HEXISTS', members, ARGV[8 + at]) == 0 then return finish('changed') end
end
local clock = append(KEYS[3], KEYS[4], ARGV[6], tick(), ARGV[8])
for at = 1, count do
  remember_stay(KEYS[7 + at], ARGV[7], clock)
  redis.call('HDEL', KEYS[7 + at], 'r:' .. ARGV[7], 'f:' .. ARGV[7])
end
redis.call('DEL', members, KEYS[6])
redis.call('ZREM', KEYS[7], ARGV[7])
keep_while_members(members, KEYS[3], KEYS[4])
return finish('ok ' .. clock)
