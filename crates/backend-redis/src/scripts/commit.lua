-- commit: makes commits of one partition, in the order given, each by itself.
--
-- KEYS  prelude.lua
-- ARGV  1 the channel that hears of ends; then per commit the 8 of
--         lib_commit.lua
-- Returns, per commit, its answer: lib_commit.lua
local ITEM = 8
most = TICKS_OF_COMMIT * (#ARGV - 1) / ITEM

local holders, insists = {}, false
for at = 2, #ARGV, ITEM do
  if asks_for_lock(at) then holders[#holders + 1] = ARGV[at] end
  if must_pass(at) then insists = true end
end
read_locks(holders)
if insists then insist() end

local answers, count = {}, 0
for at = 2, #ARGV, ITEM do
  local answer, h, body, report, held = check(at)
  count = count + 1
  answers[count] = answer or write(at, h, body, report, held)
end
write_gathered()
publish(ARGV[1])
return answers
