-- offered: operations whose last offer the broker has confirmed, flow by flow, and
-- in order of creation. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 the member of the offered set after which to start: '(', flow (6 or 0)
--         and id; or '-' for the first
--       2 how many to look at
-- Returns {ids and their last stamps (16 + 8 bytes each), the last member that was
--          looked at, or '' if there are no more}
local most = tonumber(ARGV[2])
local members = set_range(prefix .. OFFERED_SET, ARGV[1], '+', most + 1)
local found = {}
for at = 1, math.min(#members, most) do
  local id = sub(members[at], -16)
  local h = read_front(id)
  -- A member of an earlier build may have changed the operation alone.
  if h and sub(h, 41, 41) == OFFERED and not is_held(h) then
    found[#found + 1] = id .. place_of(h)
  end
end
return { table.concat(found), #members > most and members[most] or '' }
