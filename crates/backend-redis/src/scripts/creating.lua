-- What create.lua and transact.lua have in common, behind the prelude.
--
-- create(at) stores one operation, or recognises its own earlier try. Its
-- arguments are ARGV[at] and the five behind it:
--       1 id (16)
--       2 `h` up to and with the first commit (24)
--       3 `h` from the index on
--       4 body
--       5 when it is due, ms, or ''
--       6 'a': offer it, if it is a head or has no chain; else '-'
-- Returns {sequence, stamp of its offer or 0}
--     or: {h, body, report or ''}: another create used the id
-- Takes one number of the tick.
local function create(at)
  local id, start, rest, body, due, offer =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local key = RECORD .. id
  local h = call('HGET', key, 'h')
  if h then
    if h:sub(17, 24) ~= start:sub(17, 24) then
      return { h, call('HGET', key, 'b'), call('HGET', key, 'r') or '' }
    end
    return { number(h:sub(25, 32)), tonumber(call('ZSCORE', DISPATCH, id) or 0) }
  end
  -- Its first try may be so long ago that it has run and was removed since.
  local grave = call('GET', GRAVE .. id)
  if grave and grave:sub(9, 16) == start:sub(17, 24) then
    return { number(grave:sub(17, 24)), 0 }
  end

  local sequence = tick()
  local place = decimal(sequence)
  local chain = rest:sub(2, 17)
  local head = true
  if chain ~= NO_CHAIN then
    call('ZADD', CHAIN .. chain, place, id)
    head = call('ZCARD', CHAIN .. chain) == 1
  end
  if due ~= '' then call('ZADD', DUE, due, id) end
  local index = rest:sub(1, 1)
  if index ~= NOWHERE then call('ZADD', INDEX .. index, '0', id) end
  -- Its place in the order serves as its first stamp too: one number less.
  local stamp = 0
  if offer == 'a' and head then
    stamp = sequence
    call('ZADD', DISPATCH, place, id)
  end
  call('HSET', key, 'h', start .. pack(sequence) .. pack(stamp) .. rest, 'b', body)
  return { sequence, stamp }
end
