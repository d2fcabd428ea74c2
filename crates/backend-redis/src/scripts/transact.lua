-- transact: creates and commits of any partitions, all or nothing. First every
-- commit is checked, then everything is written, creates first.
--
-- A write does not invalidate a check: each operation is in the transaction
-- once, a create enters its chain behind all others, and a head stays the head
-- until it leaves by itself.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  1 the channel that hears of ends
--       2 the prefix of the sets of requests to stop
--       3 how many creates
--       4 how many commits
--       per create, 9: the partition's place in KEYS; the 8 of lib_create.lua
--       per commit, 13: the partition's place in KEYS; the 12 of lib_commit.lua
-- Returns {'D', the answers of create(), the answers to the commits}, with the
--         records that belong to them
--     or: {'R', the commit's place, from 0, its answer}: nothing is written but what
--         this answer says
--
-- A function of its own: a script has room for 200 names, and the parts before have most
-- of them.
local function transact()
  local CREATE, COMMIT = 9, 13
  local creates, commits = tonumber(ARGV[3]), tonumber(ARGV[4])
  local first_create = 5
  stops = ARGV[2]
  local first_commit = first_create + creates * CREATE
  most = creates + TICKS_OF_COMMIT * commits

  local checked = {}
  for item = 1, commits do
    local at = first_commit + (item - 1) * COMMIT
    turn_to(ARGV[at])
    local answer, one, other = check(at + 1)
    if answer and sub(answer, 1, 1) ~= 'D' then
      -- The check may have parked or held the operation.
      write_gathered()
      if next(touched) then call('INCRBY', KEYS[#KEYS], '1') end
      return { 'R', item - 1, answer }
    end
    checked[item] = { answer, one, other }
  end

  -- A full server must refuse creates, and then it refuses the whole script.
  if creates == 0 then
    insist()
  end
  local created, committed = {}, {}
  for item = 1, creates do
    local at = first_create + (item - 1) * CREATE
    turn_to(ARGV[at])
    append_answer(created, create(at + 1))
  end
  for item = 1, commits do
    local at = first_commit + (item - 1) * COMMIT
    local answer, one, other = unpack(checked[item], 1, 3)
    if answer then
      append_answer(committed, answer, one, other)
    else
      turn_to(ARGV[at])
      settle(ARGV[at + 1])
      -- Another commit of the transaction may have put it on offer since.
      local made_now, is_wanted, next_record = write_counted(at + 1, read_front(ARGV[at + 1]), other)
      append_answer(committed, made_now, is_wanted and one, next_record)
    end
  end
  write_gathered()
  write_usage()
  if next(touched) then call('INCRBY', KEYS[#KEYS], '1') end
  if #ended > 0 then
    publish(ARGV[1])
  end
  return { 'D', created, committed }
end

return transact()
