-- include: _entry.lua
-- An event to the member who has a nickname, and to its sender. The roster here resolves the nickname, not a
-- node's replica of it. The sender may send it again under the same id: it is in the log once.
-- KEYS 3 log, 4 last, 5 roster, 6 the sender's socket, 7 what its client has sent
-- ARGV 6 channel, 7 the sender's generation, 8 nickname, 9 body up to and 10 from the recipient's sid on, 11 the
--      client's id for it or '', 12 ids kept at most, 13 for how many seconds
-- Returns 'ok <clock>', also where it was sent before, 'nobody' or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[6], ARGV[7]) then return finish('stale') end
local before = sent_before(KEYS[7], ARGV[11])
if before then return finish('ok ' .. before) end
local sid = redis.call('HGET', KEYS[5], ARGV[8])
if not sid then return finish('nobody') end
local clock = append(KEYS[3], KEYS[4], ARGV[6], tick(), ARGV[9] .. sid .. ARGV[10])
remember(KEYS[7], ARGV[11], clock, ARGV[12], ARGV[13])
return finish('ok ' .. clock)
