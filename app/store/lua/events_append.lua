-- include: _entry.lua
-- One event to several rooms: into each log and to each channel, under one clock.
-- KEYS from 3 on, for each room: log, last, members
-- ARGV 6 body, from 7 on the rooms' channels
-- Returns 'ok <clock>', or 'ok 0' where no room has a member.
local reply = begin()
if reply then return reply end
for at = 0, #ARGV - 7 do check(KEYS[3 + at * 3], KEYS[4 + at * 3]) end
local clock = '0'
for at = 0, #ARGV - 7 do
  local log, last, members = KEYS[3 + at * 3], KEYS[4 + at * 3], KEYS[5 + at * 3]
  if redis.call('EXISTS', members) == 1 then
    if clock == '0' then clock = tick() end
    append(log, last, ARGV[7 + at], clock, ARGV[6])
  end
end
return finish('ok ' .. clock)
