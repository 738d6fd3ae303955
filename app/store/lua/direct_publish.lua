-- include: _entry.lua
-- A notice for one socket, to the inbox of its node; stored nowhere.
-- KEYS 3 socket
-- ARGV 6 what an inbox' name begins with, 7 namespace, 8 body
-- Returns 'ok <clock>', or 'absent' where no node holds it.
local reply = begin()
if reply then return reply end
local socket = redis.call('HMGET', KEYS[3], 'n', 's')
if not socket[1] or socket[1] == '' or socket[2] ~= ARGV[7] then return finish('absent') end
return finish('ok ' .. publish(ARGV[6] .. socket[1], ARGV[8]))
