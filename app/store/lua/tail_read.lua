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
local PAGE = 64 -- entries read at a time, so that a page of the largest ones stays bearable
local budget, bytes = tonumber(ARGV[3]), 4 * 1024 * 1024
local answer = {}

local function standing(word, last, members, log)
  local found = {word, last}
  if members ~= log then
    local pairs_of_members = redis.call('HGETALL', members)
    for at = 1, #pairs_of_members do found[at + 2] = pairs_of_members[at] end
  end
  return found
end

-- The entries after `seen`, as far as the budgets go; nil where the first of them does not follow on it.
local function tail(log, last, seen)
  local found, from = {'part'}, seen
  while budget > 0 and bytes > 0 do
    local entries = redis.call('XRANGE', log, '(' .. from .. '-0', '+', 'COUNT', math.min(PAGE, budget))
    if #entries == 0 then return nil end -- the newest one is not there
    for at, entry in ipairs(entries) do
      local id, fields = string.match(entry[1], '^%d+'), entry[2]
      if from == seen and at == 1 and fields[2] ~= seen then return nil end
      found[#found + 1], found[#found + 2], found[#found + 3] = id, fields[2], fields[4]
      budget, bytes = budget - 1, bytes - #fields[4]
      if id == last then
        found[1] = 'tail'
        return found
      end
    end
    from = found[#found - 2]
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
  elseif budget <= 0 or bytes <= 0 then
    answer[at - 3] = {'part'}
  else
    answer[at - 3] = tail(log, last, seen) or standing('lost', last, members, log)
  end
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return answer
