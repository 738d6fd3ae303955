-- Away sockets whose grace has ended; no other node is given them for a while.
-- KEYS 1 the away sockets
-- ARGV 1 how many at most, 2 ms that they are claimed for
-- Returns their sids.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'LIMIT', 0, ARGV[1])
for _, sid in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now_ms + ARGV[2], sid) end
return due
