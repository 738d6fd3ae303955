-- include: _entry.lua
-- An entry for one socket: into its own log and to the inbox of its node. While no node holds it that inbox is
-- nobody's, and the entry waits in the log.
-- KEYS 3 log, 4 last, 5 socket
-- ARGV 6 what an inbox' name begins with, 7 namespace, 8 body
-- Returns 'ok <clock>' or 'absent'.
local reply = begin()
if reply then return reply end
local socket = redis.call('HMGET', KEYS[5], 'n', 's')
if not socket[1] or socket[2] ~= ARGV[7] then return finish('absent') end
local clock = append(KEYS[3], KEYS[4], ARGV[6] .. socket[1], tick(), ARGV[8])
local ttl_ms = redis.call('PTTL', KEYS[5])
if ttl_ms > 0 then -- what a client may still recover, its log included
  redis.call('PEXPIRE', KEYS[3], ttl_ms)
  redis.call('PEXPIRE', KEYS[4], ttl_ms)
end
return finish('ok ' .. clock)
