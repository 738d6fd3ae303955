-- include: _entry.lua
-- Bound data of a socket, from any node.
-- KEYS 3 socket
-- ARGV 6 field, 7 value, or nothing to delete the field
-- Returns 'ok' or 'absent'.
local reply = begin()
if reply then return reply end
if redis.call('EXISTS', KEYS[3]) == 0 then return finish('absent') end
if ARGV[7] then
  redis.call('HSET', KEYS[3], ARGV[6], ARGV[7])
else
  redis.call('HDEL', KEYS[3], ARGV[6])
end
return finish('ok')
