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
    local new_h = sub(h, 1, KEYS_AT + 1) .. ARGV[at + 1] .. sub(h, KEYS_AT + #keys_in(h))
    new_h = with_kinds_on(new_h)
    if new_h ~= h then write_h(id, new_h) end
    enter_indexes(id, new_h)
    count = count + 1
  end
end
write_gathered()
return count
