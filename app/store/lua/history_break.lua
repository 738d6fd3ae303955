-- Redis may have lost entries up to a clock that nodes have delivered: notes that, unless they were only trimmed.
-- KEYS 1 the clock up to which history is broken, 2 the log that lacks what was delivered last (the first key again
--      where the loss is certain)
-- ARGV 1 clock, 2 seconds for which it is known, 3 clock of what was delivered last of the log
-- Returns 1, or 0 where the log begins behind that: then it is only trimmed.
if KEYS[2] ~= KEYS[1] then
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if first and tonumber(string.match(first[1], '^%d+')) > tonumber(ARGV[3]) then return 0 end
end
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 1
