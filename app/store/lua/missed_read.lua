-- What a socket that comes back has missed: of each of its logs the entries behind a clock.
-- KEYS 1 clock, then for each log: stream, last
-- ARGV 1 entries to return of each log, 2 entries that there may be at most in all of them together, or '' where that
--      was asked before, 3 bytes to return of each log, and what makes them full, from 4 on for each log the clock behind
--      which it is read
-- Returns the clock now, then for each log one of
--   {'tail', last, id, body, ...}   all of them; `last` is the log's newest clock
--   {'part', last, id, body, ...}   the first of them, one at least; ask again
--   {'many'}                        more than there may be
--   {'lost'}                        some of them are gone
local PAGE = 64
local wanted, most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Whether there are more than may be, with `count` of this log and those behind `from`. Less may be in the others.
local function too_many(log, from, count)
  most = most - count
  while most >= 0 and from do
    local entries = redis.call('XRANGE', log, '(' .. from .. '-0', '+', 'COUNT', PAGE)
    most, from = most - #entries, #entries > 0 and string.match(entries[#entries][1], '^%d+')
  end
  return most < 0
end

local function missed(log, last, from)
  local found, at, left = {'part', last}, from, bytes
  while (#found - 2) / 2 < wanted and left > 0 do
    local count = math.min(PAGE, wanted - (#found - 2) / 2)
    local entries = redis.call('XRANGE', log, '(' .. at .. '-0', '+', 'COUNT', count)
    if #entries == 0 then return {'lost'} end -- the newest one is not there
    for _, entry in ipairs(entries) do
      local id, fields = string.match(entry[1], '^%d+'), entry[2]
      if tonumber(fields[2]) > tonumber(at) then return {'lost'} end -- the one before it is not there
      found[#found + 1], found[#found + 2] = id, fields[4]
      at, left = id, left - #fields[4]
      if id == last then
        found[1] = 'tail'
        if most and too_many(log, nil, (#found - 2) / 2) then return {'many'} end
        return found
      end
      if left <= 0 then break end
    end
  end
  if most and too_many(log, at, (#found - 2) / 2) then return {'many'} end
  return found
end

local answer = {redis.call('GET', KEYS[1]) or '0'}
for at = 4, #ARGV do
  local key = (at - 3) * 2
  local last = redis.call('GET', KEYS[key + 1]) or '0'
  if tonumber(last) <= tonumber(ARGV[at]) then
    answer[at - 2] = {'tail', last}
  elseif most and most < 0 then
    answer[at - 2] = {'many'}
  else
    answer[at - 2] = missed(KEYS[key], last, ARGV[at])
  end
end
return answer
