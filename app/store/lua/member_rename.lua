-- include: _entry.lua
-- A member takes another nickname, if it is free.
-- KEYS 3 log, 4 last, 5 members, 6 roster, 7 socket
-- ARGV 6 channel, 7 generation, 8 sid, 9 nickname, 10 body, 11 the room's field, 12 what the room hears
--      when it leaves, from 13 on fields and values of the socket's bound data to be set with it
-- Returns 'ok <clock>', 'same', 'taken', 'absent' or 'stale'.
local reply = begin()
if reply then return reply end
local members, roster, sid, nickname = KEYS[5], KEYS[6], ARGV[8], ARGV[9]
if stale(KEYS[7], ARGV[7]) then return finish('stale') end
local member = redis.call('HGET', members, sid)
if not member then return finish('absent') end
local place, old = string.match(member, '^(%d+ %d+ %S+ )(.*)$')
if old == nickname then return finish('same') end
check(KEYS[3], KEYS[4])
if redis.call('HSETNX', roster, nickname, sid) == 0 then return finish('taken') end

if redis.call('HGET', roster, old) == sid then redis.call('HDEL', roster, old) end
redis.call('HSET', members, sid, place .. nickname)
redis.call('HSET', KEYS[7], 'f:' .. ARGV[11], ARGV[12])
for at = 13, #ARGV, 2 do redis.call('HSET', KEYS[7], ARGV[at], ARGV[at + 1]) end
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[6], tick(), ARGV[10]))
