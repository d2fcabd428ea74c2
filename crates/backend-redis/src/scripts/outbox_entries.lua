-- outbox_entries: entries of the outbox that were not published for a
-- while, oldest first, with their records as far as a summary needs them. Reads
-- only.
--
-- KEYS  prelude.lua
-- ARGV  1 how old they are at least, in microseconds
--       2 how many at most; fewer if they are large: an answer that takes
--         longer than the response timeout would never arrive
--       3 the stamp that they begin with (8)
-- Returns, per entry: id (16) and stamp (8); its record
local MOST_BYTES = 1024 * 1024
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
-- Up to the stamp before this one.
local newest = '(' .. pack(math.max(now - tonumber(ARGV[1]), 0) + 1)
-- A tick in the future shows that the clock was set back. Stamps tell no age
-- then; all entries too early is better than one entry not for hours.
if tonumber(call('GET', TICK) or 0) > now + 1000000 then newest = '+' end
local found, bytes = {}, 0
for _, entry in ipairs(set_range(OUTBOX, '[' .. ARGV[3], newest, tonumber(ARGV[2]))) do
  local id = sub(entry, 9)
  local record = read_record(id)
  if record then
    found[#found + 1] = id .. sub(entry, 1, 8)
    found[#found + 1] = record
    bytes = bytes + #record
    if bytes > MOST_BYTES then break end
  end
end
return found
