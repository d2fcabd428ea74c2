-- offered: operations that ought to be in the broker: Ready, a head or without
-- a chain, and neither in the outbox nor held by a pause. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 the id after which to start: '(' + id, or '-' for the first
--       2 how many to look at
-- Returns {ids and their last stamps (16 + 8 bytes each), the last id that was
--          looked at, or '' if there are no more}
local most = tonumber(ARGV[2])
local ids = set_range(INDEX .. OFFERED, ARGV[1], '+', most + 1)
local found = {}
for at = 1, math.min(#ids, most) do
  local id = ids[at]
  local h = read_front(id)
  if h and not is_held(h) and not stamp_in_outbox(id, h) then
    local chain = h:sub(42, 57)
    if chain == NO_CHAIN or call('ZRANGE', CHAIN .. chain, '0', '0')[1] == id then
      found[#found + 1] = id .. h:sub(33, 40)
    end
  end
end
return { table.concat(found), #ids > most and ids[most] or '' }
