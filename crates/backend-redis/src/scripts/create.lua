-- create: stores operations, in the order given; those of one partition stand
-- together. Each by itself recognises its own earlier try.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  per operation, 9: the partition's place in KEYS; the 8 of lib_create.lua
-- Returns, per operation, the answer of create(), and the record that belongs to it
local ITEM = 9

is_alone = #ARGV == ITEM
local counts = {}
for at = 1, #ARGV, ITEM do counts[ARGV[at]] = (counts[ARGV[at]] or 0) + 1 end
local is_new = all_are_new(ITEM)
local answers = {}
for at = 1, #ARGV, ITEM do
  turn_to(ARGV[at])
  most = counts[ARGV[at]]
  append_answer(answers, create(at + 1, is_new))
end
write_gathered()
write_usage()
if next(touched) then call('INCRBY', KEYS[#KEYS], '1') end
return answers
