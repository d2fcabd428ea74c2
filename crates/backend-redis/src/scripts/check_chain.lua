-- check_chain: some members of a chain, with their records. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 the chain (16)
--       2 the place in it, or '0' for its start
--       3 about how many members
-- Returns the place to go on from, '0' at the end; then per member, 2: its id; the record
--         up to its body, '' if there is none, '?' if it has not the layout
local answer = call('ZSCAN', prefix .. CHAIN .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local answers = { answer[1] }
for at = 1, #answer[2], 2 do
  local id = answer[2][at]
  local count = #answers
  answers[count + 1], answers[count + 2] = id, read_checked(id) or ''
end
return answers
