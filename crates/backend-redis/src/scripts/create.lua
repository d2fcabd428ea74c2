-- create: stores operations of one partition, in the order given. Each by
-- itself recognises its own earlier try.
--
-- KEYS  prelude.lua
-- ARGV  per operation the 6 of lib_create.lua
-- Returns, per operation, the answer of create()
local ITEM = 6
most = #ARGV / ITEM

local is_new = all_are_new(1, #ARGV, ITEM)
local answers, count = {}, 0
for at = 1, #ARGV, ITEM do
  count = count + 1
  answers[count] = create(at, is_new)
end
write_gathered()
return answers
