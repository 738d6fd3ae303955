-- include: _entry.lua
-- A notice to a room's channel or a node's inbox; stored nowhere.
-- ARGV 4 channel, 5 body
-- Returns 'ok <clock>'.
local reply = begin()
if reply then return reply end
return finish('ok ' .. publish(ARGV[4], ARGV[5]))
