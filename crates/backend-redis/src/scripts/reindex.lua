-- reindex: brings operations of one partition into the indexes that are
-- switched on, and out of the others. May be repeated.
--
-- The flow of an operation stays as it was, none included: the entries in the
-- outbox and in the offered set begin with it.
--
-- KEYS  prelude.lua
-- ARGV  per operation, 2: id (16); its keys as lib_indexes.lua has them, from
--       their number on
-- Returns how many were there
local function with_flow_of(h, keys)
  if flow_of(h) ~= '' or byte(keys, 4) ~= FLOW then return keys end
  return sub(keys, 1, 2) .. string.char(byte(keys, 3) - 1) .. sub(keys, 4 + KEY)
end

local off, count = kinds_off(), 0
for at = 1, #ARGV, 2 do
  local id = ARGV[at]
  local h = read_h(id)
  if h then
    leave_indexes(id, h, off)
    local was = keys_in(h)
    local keys = with_flow_of(h, keys_on(sub(was, 1, 2) .. ARGV[at + 1]))
    if keys ~= was then write_h(id, h, sub(h, 1, CHAIN_AT + 15), keys, header_in(h)) end
    enter_indexes(id, sub(h, 1, KEYS_AT - 1) .. keys)
    count = count + 1
  end
end
write_gathered()
return count
