-- reindex: brings operations of one partition into the indexes that are
-- switched on, and out of the others. May be repeated.
--
-- The flow of an operation stays as it was, none included: the entries in the
-- outbox and in the offered set begin with it. So does its organization: an operation
-- that was not counted when it was created must not be counted when it goes.
--
-- KEYS  prelude.lua
-- ARGV  per operation, 2: id (16); its keys as lib_indexes.lua has them, from
--       their number on
-- Returns how many were there
local function without_key(keys, at)
  return sub(keys, 1, 2) .. string.char(byte(keys, 3) - 1) .. sub(keys, 4, at - 1)
    .. sub(keys, at + KEY)
end

-- The keys without those that the operation had not when it was created.
local function with_first_of(h, keys)
  local second = sub(keys, 4 + KEY, 4 + KEY):lower()
  if second == 'g' and not organization_of(h) then
    keys = without_key(keys, 4 + KEY)
  end
  if flow_of(h) == '' and byte(keys, 4) == FLOW then keys = without_key(keys, 4) end
  return keys
end

local off, count = kinds_off(), 0
for at = 1, #ARGV, 2 do
  local id = ARGV[at]
  local h = read_h(id)
  if h then
    leave_indexes(id, h, off)
    local was = keys_in(h)
    local keys = with_first_of(h, keys_on(sub(was, 1, 2) .. ARGV[at + 1]))
    if keys ~= was then write_h(id, h, sub(h, 1, CHAIN_AT + 15), keys, header_in(h)) end
    enter_indexes(id, sub(h, 1, KEYS_AT - 1) .. keys)
    count = count + 1
  end
end
write_gathered()
return count
