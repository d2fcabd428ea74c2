-- newest_with: the newest ids of one partition that have a key, as of one
-- moment: an operation that moves from one shelf to another meanwhile is
-- neither missed nor doubled. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 the hash of the key (6)
--       2 the id that they are below, or its first bytes, or ''
--       3 the id from which on, or its first bytes, or ''
--       4 how many of each shelf
--       5 the letter of the kind, if the locked operations with the key are
--         wanted, too; else '-'
--       6 and further: the names of the shelves
-- Returns the locked ids with the key, in no order, or ''; then per shelf its
--         ids, newest first (16 bytes each)
local hash, wanted = ARGV[1], ARGV[5]
local locked = {}
if wanted ~= NOWHERE then
  local key = wanted .. hash
  for _, id in ipairs(call('HKEYS', prefix .. LOCKS)) do
    local h = read_front(id)
    local keys = h and keys_in(h) or ''
    for at = 4, #keys, KEY do
      if sub(keys, at, at + HASH) == key then locked[#locked + 1] = id end
    end
  end
end
local answers = { table.concat(locked) }
for at = 6, #ARGV do
  local ids = newest_in_further(ARGV[at], hash, ARGV[2], ARGV[3], tonumber(ARGV[4]))
  answers[#answers + 1] = table.concat(ids)
end
return answers
