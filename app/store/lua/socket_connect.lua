-- include: _entry.lua
-- A new socket: its hash, its place among everybody in the namespace, and among its node's sockets.
-- KEYS 3 socket, 4 everybody's members, 5 everybody's log, 6 everybody's last, 7 the node's sockets
-- ARGV 4 sid, 5 namespace, 6 node id
-- Returns 'ok <clock>': the clock at which it became a member of everybody.
local reply = begin()
if reply then return reply end
local clock = tick()
redis.call('HSET', KEYS[3], 'n', ARGV[6], 'g', '1', 's', ARGV[5])
redis.call('HSET', KEYS[4], ARGV[4], clock .. ' 1 ' .. ARGV[6] .. ' ')
redis.call('SADD', KEYS[7], ARGV[4])
keep(KEYS[5], KEYS[6])
return finish('ok ' .. clock)
