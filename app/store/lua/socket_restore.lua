-- include: _entry.lua
-- Writes a socket anew into a Redis that was emptied; its rooms are entered after this. Its client has lost what
-- was in the logs, so it cannot recover.
-- KEYS 3 socket, 4 everybody's members, 5 everybody's log, 6 everybody's last, 7 the node's sockets, 8 the epoch
-- ARGV 6 sid, 7 namespace, 8 node id, 9 lineage or '', 10 generation, 11 the epoch that the node knew
-- Returns 'ok <clock>', 'known' where Redis has the socket, or 'same' where it was not emptied.
local reply = begin()
if reply then return reply end
if redis.call('EXISTS', KEYS[3]) == 1 then
  local clock = redis.call('HGET', KEYS[3], 'z')
  if not clock or stale(KEYS[3], ARGV[10]) then return finish('known') end
  return finish('ok ' .. clock) -- written anew before, for another reason
end
if redis.call('GET', KEYS[8]) == ARGV[11] then return finish('same') end
local clock = tick()
redis.call('HSET', KEYS[3], 'n', ARGV[8], 'g', ARGV[10], 's', ARGV[7], 'e', clock, 't', clock, 'z', clock)
if ARGV[9] ~= '' then redis.call('HSET', KEYS[3], 'l', ARGV[9]) end
redis.call('HSET', KEYS[4], ARGV[6], clock .. ' ' .. ARGV[10] .. ' ' .. ARGV[8] .. ' ')
redis.call('SADD', KEYS[7], ARGV[6])
keep(KEYS[5], KEYS[6])
return finish('ok ' .. clock)
