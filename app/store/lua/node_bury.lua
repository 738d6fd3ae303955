-- Puts sockets of a dead node away; whatever that node may still do for them is stale from here on.
-- KEYS 1 the nodes (hash), 2 the away sockets, 3 the dead node's sockets, from 4 on the sockets
-- ARGV 1 node id, 2 the heartbeat it was last seen with, 3 ms since then, 4 grace in ms, 5 the clock up to
--      which its clients have received all that were connected before the clock 6, from 7 on the sids, in the
--      order of the sockets
-- Returns how many were put away, or -1 where the node has beaten since.
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record and cjson.decode(record).beat ~= tonumber(ARGV[2]) then return -1 end
local time = redis.call('TIME')
local alive_ms = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[3]
local count = 0
for at = 7, #ARGV do
  local socket = KEYS[at - 3]
  if redis.call('HGET', socket, 'n') == ARGV[1] then
    redis.call('HINCRBY', socket, 'g', 1)
    redis.call('HSET', socket, 'n', '', 'a', string.format('%.0f', alive_ms))
    if tonumber(redis.call('HGET', socket, 't') or 0) <= tonumber(ARGV[6]) then
      redis.call('HSET', socket, 'c', ARGV[5])
    end
    redis.call('ZADD', KEYS[2], alive_ms + ARGV[4], ARGV[at])
    count = count + 1
  end
  redis.call('SREM', KEYS[3], ARGV[at])
end
return count
