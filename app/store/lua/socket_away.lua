-- include: _entry.lua
-- The connection of a socket broke: nobody holds it until a connection takes it or a node sweeps it.
-- KEYS 3 socket, 4 the away sockets, 5 the node's sockets
-- ARGV 6 sid, 7 generation, 8 ms since the client's last sign of life, 9 grace in ms,
--      10 the clock up to which it has received all, if it was connected before the clock 11
-- Returns 'ok' or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[3], ARGV[7]) then
  if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SREM', KEYS[5], ARGV[6]) end
  return finish('stale')
end
local time = redis.call('TIME')
local alive_ms = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[8]
redis.call('HSET', KEYS[3], 'n', '', 'a', string.format('%.0f', alive_ms))
if tonumber(redis.call('HGET', KEYS[3], 't') or 0) <= tonumber(ARGV[11]) then
  redis.call('HSET', KEYS[3], 'c', ARGV[10])
end
redis.call('SREM', KEYS[5], ARGV[6])
redis.call('ZADD', KEYS[4], alive_ms + ARGV[9], ARGV[6])
return finish('ok')
