-- include: _entry.lua
-- A new connection takes a socket, with its rooms; the former one has lost it from here on.
-- KEYS 3 socket, 4 the away sockets, 5 the node's sockets, 6 the former node's, 7 everybody's members,
--      8 everybody's log, 9 everybody's last, 10 the socket's log, 11 its last, from 12 on the members of its
--      rooms
-- ARGV 6 sid, 7 generation it was read with, 8 node id, 9 what an inbox' name begins with, 10 body for the
--      former node's inbox, from 11 on the fields of its rooms, in the order of their members
-- Returns 'ok <clock> <its last>', or 'changed' where it is not as it was read.
local reply = begin()
if reply then return reply end
local socket, sid, node = KEYS[3], ARGV[6], ARGV[8]
if stale(socket, ARGV[7]) then return finish('changed') end
local rooms = 0
for _, field in ipairs(redis.call('HKEYS', socket)) do
  if string.sub(field, 1, 2) == 'r:' then rooms = rooms + 1 end
end
if rooms ~= #ARGV - 10 then return finish('changed') end
for at = 11, #ARGV do
  if redis.call('HEXISTS', socket, 'r:' .. ARGV[at]) == 0 then return finish('changed') end
end

local clock = tick()
local generation = redis.call('HINCRBY', socket, 'g', 1)
local former = redis.call('HGET', socket, 'n')
redis.call('HSET', socket, 'n', node, 't', clock)
redis.call('HDEL', socket, 'a')
redis.call('PERSIST', socket)
keep(KEYS[10], KEYS[11])
redis.call('ZREM', KEYS[4], sid)
redis.call('SREM', KEYS[6], sid)
redis.call('SADD', KEYS[5], sid)
local place = ' ' .. generation .. ' ' .. node .. ' '
redis.call('HSET', KEYS[7], sid, redis.call('HGET', socket, 'e') .. place)
keep(KEYS[8], KEYS[9])
for at = 12, #KEYS do
  local member = redis.call('HGET', KEYS[at], sid)
  if member then
    local entered, nickname = string.match(member, '^(%d+) %d+ %S+ (.*)$')
    redis.call('HSET', KEYS[at], sid, entered .. place .. nickname)
  end
end
if former ~= '' and former ~= node then publish(ARGV[9] .. former, ARGV[10]) end
return finish('ok ' .. clock .. ' ' .. (redis.call('GET', KEYS[11]) or '0'))
