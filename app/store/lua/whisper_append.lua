-- include: _entry.lua
-- An event to the member who has a nickname, and to its sender. The roster here resolves the nickname, not a
-- node's replica of it.
-- KEYS 3 log, 4 last, 5 roster, 6 the sender's socket
-- ARGV 6 channel, 7 the sender's generation, 8 nickname, 9 body up to and 10 from the recipient's sid on
-- Returns 'ok <clock>', 'nobody' or 'stale'.
local reply = begin()
if reply then return reply end
if stale(KEYS[6], ARGV[7]) then return finish('stale') end
local sid = redis.call('HGET', KEYS[5], ARGV[8])
if not sid then return finish('nobody') end
local body = ARGV[9] .. sid .. ARGV[10]
return finish('ok ' .. append(KEYS[3], KEYS[4], ARGV[6], tick(), body))
