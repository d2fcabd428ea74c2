-- enter_offered: enters Ready operations into the offered set that are in no place,
-- neither in the outbox nor held nor parked. A build from before that set has had
-- their offers confirmed. Each partition is gone through once, page by page.
--
-- KEYS  prelude.lua
-- ARGV  1 how many to look at
-- Returns 1 if there are more, else 0
local ALL = 'all'
local wanted = tonumber(ARGV[1])
-- The id of the last operation that was looked at, or ALL.
local place = prefix .. OFFERED_SET .. ':seen'
local seen = call('GET', place)
if seen == ALL then return 0 end
local ids = set_range(prefix .. INDEX .. OFFERED, seen and '(' .. seen or '-', '+', wanted + 1)
for at = 1, math.min(#ids, wanted) do
  local id = ids[at]
  local h = read_front(id)
  if h and not is_held(h) and not stamp_in_outbox(id, h) then
    local chain = sub(h, 42, 57)
    if chain == NO_CHAIN or call('ZRANGE', prefix .. CHAIN .. chain, '0', '0')[1] == id then
      add_later(id, OFFERED_SET, flow_of(h) .. id, true)
    end
  end
end
write_gathered()
local has_more = #ids > wanted
call('SET', place, has_more and ids[wanted] or ALL)
return has_more and 1 or 0
