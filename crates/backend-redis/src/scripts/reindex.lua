-- reindex: brings operations of one partition into the indexes that are
-- switched on, and out of the others. May be repeated.
--
-- KEYS  prelude.lua
-- ARGV  per operation, 2: id (16); its keys as lib_indexes.lua has them, from
--       their number on
-- Returns how many were there
local off, count = kinds_off(), 0
for at = 1, #ARGV, 2 do
  local id = ARGV[at]
  local h = read_h(id)
  if h then
    leave_indexes(id, h, off)
    local was = keys_in(h)
    local keys = keys_on(sub(was, 1, 2) .. ARGV[at + 1])
    if keys ~= was then write_h(id, h, sub(h, 1, CHAIN_AT + 15), keys, header_in(h)) end
    enter_indexes(id, sub(h, 1, KEYS_AT - 1) .. keys)
    count = count + 1
  end
end
write_gathered()
return count
