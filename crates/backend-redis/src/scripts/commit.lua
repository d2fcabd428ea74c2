-- commit: makes commits, in the order given, each by itself; those of one
-- partition stand together.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  1 the channel that hears of ends
--       2 the prefix of the sets of requests to stop
--       then per commit, 13: the partition's place in KEYS; the 12 of lib_commit.lua
-- Returns, per commit, its answer, and the records that belong to it:
-- lib_commit.lua
local FIRST, ITEM = 3, 13
stops = ARGV[2]
is_alone = #ARGV == FIRST + ITEM - 1

local counts, holders, insists = {}, {}, false
for at = FIRST, #ARGV, ITEM do
  local partition = ARGV[at]
  if not counts[partition] then
    read_locks(holders)
    counts[partition], holders = 0, {}
    turn_to(partition)
  end
  counts[partition] = counts[partition] + 1
  local guard, lock = byte(ARGV[at + 2], 1, 2)
  if asks_for_lock(guard, lock) then holders[#holders + 1] = ARGV[at + 1] end
  if must_pass(lock) then insists = true end
end
read_locks(holders)
if insists then
  insist()
end

local answers = {}
for at = FIRST, #ARGV, ITEM do
  turn_to(ARGV[at])
  most = TICKS_OF_COMMIT * counts[ARGV[at]]
  local answer, h, held = check(at + 1)
  if answer then
    -- With the records that follow.
    append_answer(answers, answer, h, held)
  else
    append_answer(answers, write_counted(at + 1, h, held))
  end
end
write_gathered()
write_usage()
if next(touched) then call('INCRBY', KEYS[#KEYS], '1') end
if #ended > 0 then
  publish(ARGV[1])
end
return answers
