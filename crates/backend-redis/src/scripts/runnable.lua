-- runnable: the operations of a queue that could run now: those in its flows of
-- the outbox and of the offered set. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 how the flows of the queue begin (3)
--       2 the number from which on no more are counted, in each of the sets
--       3 how many ids to return of each of the sets
-- Returns {how many there are; exact below the number; ids (16 each): the first of
--          each flow, then their next ones}
local from, to = '[' .. ARGV[1], '(' .. ARGV[1] .. ('\255'):rep(28)
local most, wanted = tonumber(ARGV[2]), tonumber(ARGV[3])
local count, ids = 0, {}
for _, key in ipairs({ prefix .. OUTBOX, prefix .. OFFERED_SET }) do
  count = count + set_count_to(key, from, to, most)
  local flows = flows_in(key, from, to, wanted)
  local share = math.max(math.floor(wanted / math.max(#flows, 1)), 1)
  for _, flow in ipairs(flows) do
    for _, member in ipairs(set_range(key, '[' .. flow[2], '(' .. flow[1] .. LAST, share)) do
      ids[#ids + 1] = sub(member, -16)
    end
  end
end
return { count, table.concat(ids) }
