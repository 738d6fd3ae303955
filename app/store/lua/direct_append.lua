-- include: _entry.lua
-- An entry for one socket: into its own log and to the inbox of its node.
-- KEYS 3 log, 4 last, 5 socket
-- ARGV 6 what an inbox' name begins with, 7 namespace, 8 body
-- Returns 'ok <clock>' or 'absent'.
local reply = begin()
if reply then return reply end
local socket = redis.call('HMGET', KEYS[5], 'n', 's')
if not socket[1] or socket[2] ~= ARGV[7] then return finish('absent') end
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[6] .. socket[1], tick(), ARGV[8]))
