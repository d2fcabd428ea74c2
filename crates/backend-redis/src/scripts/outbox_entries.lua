-- outbox_entries: entries of the outbox that were not published for a while, with
-- their records as far as a summary needs them. The flows that have such entries
-- share the answer: it has the oldest entry of each, then the second ones, and so
-- on. So no flow waits for another one's backlog. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 how old they are at least, in microseconds
--       2 how many at most; fewer if they are large: an answer that takes
--         longer than the response timeout would never arrive
--       3 the flow behind which to start (6), or ''
--       then per flow of which the first entries are to be left out, 2: the flow (6);
--       the stamp that it begins with (8)
-- Returns the flow behind which to go on (6), or '' if all flows were looked at; the
--         flows that have more such entries (6 each); then per entry: flow (6), id (16)
--         and stamp (8); its record, or '' if there is none
-- Zeros stand for the flow of entries that have none.
local MOST_BYTES = 1024 * 1024
-- Flows that are looked at: each costs three commands.
local MOST_FLOWS = 256
local most = tonumber(ARGV[2])
local begins = {}
for at = 4, #ARGV, 2 do begins[ARGV[at]] = ARGV[at + 1] end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = math.max(now - tonumber(ARGV[1]), 0)
-- A tick in the future shows that the clock was set back. Stamps tell no age
-- then; all entries too early is better than one entry not for hours.
if tonumber(call('GET', prefix .. TICK) or 0) > now + 1000000 then newest = 2 ^ 53 end

local function stamp_in(entry) return sub(entry, -24, -17) end

local found, place = flows_in(prefix .. OUTBOX, ARGV[3], '+', math.min(most, MOST_FLOWS))
local next_flow = place and set_range(prefix .. OUTBOX, place, '+', 1)[1] and found[#found][1] or ''
local old = {}
for _, flow in ipairs(found) do
  if number(stamp_in(flow[2])) <= newest then old[#old + 1] = flow[1] end
end

local share = math.max(math.floor(most / math.max(#old, 1)), 1)
local lists, more = {}, {}
for at, flow in ipairs(old) do
  local bytes = bytes_of_flow(flow)
  local list = set_range(prefix .. OUTBOX, '[' .. bytes .. (begins[flow] or ''),
    '(' .. bytes .. pack(newest + 1), share + 1)
  more[at] = #list > share
  if more[at] then list[share + 1] = nil end
  lists[at] = list
end

local answers, bytes = { '', '' }, 0
for turn = 1, share do
  local any = false
  for at, flow in ipairs(old) do
    local entry = lists[at][turn]
    if entry and bytes <= MOST_BYTES then
      any = true
      local id = sub(entry, -16)
      -- An entry without a record must not hide those behind it.
      local record = read_record(id) or ''
      answers[#answers + 1] = flow .. id .. stamp_in(entry)
      answers[#answers + 1] = record
      bytes = bytes + #record
      -- The flows behind this one have not had their turn.
      if turn == 1 and bytes > MOST_BYTES and at < #old then next_flow = flow end
    elseif entry then
      more[at] = true
    end
  end
  if not any then break end
end
answers[1] = next_flow
local rest = {}
for at, flow in ipairs(old) do
  if more[at] then rest[#rest + 1] = flow end
end
answers[2] = table.concat(rest)
return answers
