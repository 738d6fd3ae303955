-- include: _entry.lua
-- A new socket: its hash, its place among everybody in the namespace, and among its node's sockets.
-- KEYS 3 socket, 4 everybody's members, 5 everybody's log, 6 everybody's last, 7 the node's sockets
-- ARGV 6 sid, 7 namespace, 8 node id, 9 the lineage of a client that can recover, or ''
-- Returns 'ok <clock>': the clock at which it became a member of everybody.
local reply = begin()
if reply then return reply end
local clock = tick()
redis.call('HSET', KEYS[3], 'n', ARGV[8], 'g', '1', 's', ARGV[7], 'e', clock, 't', clock)
if ARGV[9] ~= '' then redis.call('HSET', KEYS[3], 'l', ARGV[9]) end
redis.call('HSET', KEYS[4], ARGV[6], clock .. ' 1 ' .. ARGV[8] .. ' ')
redis.call('SADD', KEYS[7], ARGV[6])
keep(KEYS[5], KEYS[6])
return finish('ok ' .. clock)
