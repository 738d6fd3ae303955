-- include: _entry.lua
-- An event to a room: into its log and to its channel.
-- KEYS 3 log, 4 last, 5 members, 6 the acting socket (the members again where nobody acts)
-- ARGV 6 channel, 7 acting generation or '', 8 body
-- Returns 'ok <clock>', 'ok 0' where the room has no member and nothing was stored, or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[6], ARGV[7]) then return finish('stale') end
if redis.call('EXISTS', KEYS[5]) == 0 then return finish('ok 0') end
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[6], tick(), ARGV[8]))
