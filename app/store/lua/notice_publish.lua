-- include: _entry.lua
-- A notice to a room's channel or a node's inbox; stored nowhere.
-- ARGV 6 channel, 7 body
-- Returns 'ok <clock>'.
local reply = begin()
if reply then return reply end
return finish('ok ' .. publish(ARGV[6], ARGV[7]))
