-- include: _entry.lua
-- An entry for one socket: into its own log and to the inbox of its node.
-- KEYS 3 log, 4 last, 5 socket
-- ARGV 4 what an inbox' name begins with, 5 log limit, 6 namespace, 7 body
-- Returns 'ok <clock>' or 'absent'.
local reply = begin()
if reply then return reply end
local socket = redis.call('HMGET', KEYS[5], 'n', 's')
if not socket[1] or socket[2] ~= ARGV[6] then return finish('absent') end
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[4] .. socket[1], ARGV[5], tick(), ARGV[7]))
