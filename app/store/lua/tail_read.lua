-- What a node missed in some logs, and a marker to its inbox: all that was published before the marker is in
-- this answer, all behind it is not.
-- KEYS for each log: stream, last, members (the stream again where there is no membership to read)
-- ARGV 1 the node's inbox, 2 the marker, 3 how many entries in all, from 4 on for each log the clock seen
--      last, or '' where none was
-- Returns for each log one of
--   {'same'}                            nothing was missed
--   {'tail', id, prev, body, ...}       the entries after the clock seen, all of them
--   {'part', id, prev, body, ...}       the first of them; ask again
--   {'fresh', last, sid, member, ...}   none was seen: where the log stands and who is in the room
--   {'lost', last, sid, member, ...}    the clock seen is not in the log's past: it was trimmed or lost
local budget = tonumber(ARGV[3])
local answer = {}

local function standing(word, last, members, log)
  local found = {word, last}
  if members ~= log then
    local pairs_of_members = redis.call('HGETALL', members)
    for at = 1, #pairs_of_members do found[at + 2] = pairs_of_members[at] end
  end
  return found
end

local function tail(log, last, seen)
  local entries = redis.call('XRANGE', log, '(' .. seen .. '-0', '+', 'COUNT', budget)
  if #entries == 0 then return nil end
  budget = budget - #entries
  local found = {'part'}
  for at, entry in ipairs(entries) do
    local id, fields = string.match(entry[1], '^%d+'), entry[2]
    if at == 1 and fields[2] ~= seen then return nil end
    found[#found + 1] = id
    found[#found + 1] = fields[2]
    found[#found + 1] = fields[4]
    if id == last then found[1] = 'tail' end
  end
  return found
end

for at = 4, #ARGV do
  local key = (at - 4) * 3
  local log, members, seen = KEYS[key + 1], KEYS[key + 3], ARGV[at]
  local last = redis.call('GET', KEYS[key + 2]) or '0'
  if seen == '' then
    answer[at - 3] = standing('fresh', last, members, log)
  elseif seen == last then
    answer[at - 3] = {'same'}
  elseif budget <= 0 then
    answer[at - 3] = {'part'}
  else
    answer[at - 3] = tail(log, last, seen) or standing('lost', last, members, log)
  end
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return answer
