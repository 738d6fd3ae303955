-- include: _entry.lua
-- An event to a room that a client may send again under the same id: it is in the log once.
-- KEYS 3 log, 4 last, 5 members, 6 the acting socket, 7 what its client has sent
-- ARGV 6 channel, 7 acting generation, 8 body, 9 the client's id for it, 10 ids kept at most, 11 for how many
--      seconds
-- Returns 'ok <clock>', also where it was sent before, 'ok 0' where the room has no member and nothing was stored,
-- or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[6], ARGV[7]) then return finish('stale') end
local before = sent_before(KEYS[7], ARGV[9])
if before then return finish('ok ' .. before) end
if redis.call('EXISTS', KEYS[5]) == 0 then return finish('ok 0') end
local clock = append(KEYS[3], KEYS[4], ARGV[6], tick(), ARGV[8])
remember(KEYS[7], ARGV[9], clock, ARGV[10], ARGV[11])
return finish('ok ' .. clock)
