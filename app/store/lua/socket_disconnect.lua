-- include: _entry.lua
-- The end of a socket, after it has left its rooms.
-- KEYS 3 socket, 4 everybody's members, 5 everybody's log, 6 everybody's last, 7 the node's sockets,
--      8 the socket's log, 9 its last
-- ARGV 6 sid, 7 generation
-- Returns 'ok' or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[3], ARGV[7]) then
  if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SREM', KEYS[7], ARGV[6]) end
  return finish('stale')
end
redis.call('SREM', KEYS[7], ARGV[6])
redis.call('HDEL', KEYS[4], ARGV[6])
keep_while_members(KEYS[4], KEYS[5], KEYS[6])
redis.call('DEL', KEYS[3], KEYS[8], KEYS[9])
return finish('ok')
