-- include: _entry.lua
-- The end of a socket's presence, after it has left its rooms.
-- KEYS 3 socket, 4 everybody's members, 5 everybody's log, 6 everybody's last, 7 the node's sockets,
--      8 the socket's log, 9 its last, 10 the away sockets
-- ARGV 6 sid, 7 generation, 8 ms for which its client may still recover it, from its last sign of life on, or ''
-- Returns 'ok', 'stale', or 'changed' where it is still in a room.
local reply = begin()
if reply then return reply end
if stale(KEYS[3], ARGV[7]) then
  if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('SREM', KEYS[7], ARGV[6])
    redis.call('ZREM', KEYS[10], ARGV[6])
  end
  return finish('stale')
end
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if string.sub(field, 1, 2) == 'r:' then return finish('changed') end
end
redis.call('SREM', KEYS[7], ARGV[6])
redis.call('ZREM', KEYS[10], ARGV[6])
redis.call('HDEL', KEYS[4], ARGV[6])
keep_while_members(KEYS[4], KEYS[5], KEYS[6])
local alive_ms = redis.call('HGET', KEYS[3], 'a')
if ARGV[8] ~= '' and alive_ms then
  local until_ms = string.format('%.0f', alive_ms + ARGV[8])
  for _, key in ipairs({KEYS[3], KEYS[8], KEYS[9]}) do redis.call('PEXPIREAT', key, until_ms) end
else
  redis.call('DEL', KEYS[3], KEYS[8], KEYS[9])
end
return finish('ok')
