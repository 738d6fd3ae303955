-- include: _entry.lua
-- An event to the member who has a nickname, and to its sender. The roster here resolves the nickname, not a
-- node's replica of it.
-- KEYS 3 log, 4 last, 5 roster, 6 the sender's socket
-- ARGV 4 channel, 5 log limit, 6 the sender's generation, 7 nickname, 8 body up to and 9 from the recipient's
--      sid on
-- Returns 'ok <clock>', 'nobody' or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[6], ARGV[6]) then return finish('stale') end
local sid = redis.call('HGET', KEYS[5], ARGV[7])
if not sid then return finish('nobody') end
local body = ARGV[8] .. sid .. ARGV[9]
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[4], ARGV[5], tick(), body))
