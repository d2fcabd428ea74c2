-- The common part of create.lua and transact.lua, behind the prelude,
-- lib_usage.lua, lib_record.lua, lib_indexes.lua and lib_pauses.lua.
--
-- create(at) stores one operation, or recognises its own earlier try. Its
-- arguments are ARGV[at] and the seven behind it:
--       1 id (16)
--       2 the record, with zeros for sequence and stamp
--       3 the data, if they are to be in a key of its own, or ''
--       4 when it is due, ms, or ''
--       5 'a': offer it, if it is a head or has no chain; else '-'
--       6 the idempotency key (16) and the content (16), or '' for no key
--       7 for how many ms the key is reserved, or ''
--       8 the scopes (8 each) that it is in: while one is paused, it is not offered
--         but held
-- Returns 'N', id (16), sequence (8), stamp of its offer (8), or 0
--     or: 'E', id (16); its record follows, or '': append_answer(). Another create
--         used the id, or the key was used before and stands for this operation
--     or: 'K': the key is reserved with another content
--     or: 'S', id (16): the key stands for an operation that was removed
-- Takes one number of the tick.
-- `is_new` is true if it is known that there was no such record and no
-- tombstone when the script began.

-- Operations in one question.
local MOST_ASKED = 500

-- Returns true if none of these operations has a record or a tombstone. Each
-- has `step` arguments: its partition, then those of create(). The same question shows that
-- their partitions have neither pauses nor kinds of indexes that are switched off.
local function all_are_new(step)
  local asked = {}
  for start = 1, #ARGV, MOST_ASKED * step do
    local keys, count, others = {}, 0, {}
    for at = start, math.min(#ARGV, start + (MOST_ASKED - 1) * step), step do
      local partition, id = ARGV[at], ARGV[at + 1]
      turn_to(partition)
      if not asked[partition] then
        asked[partition] = true
        others[#others + 1] = partition
      end
      keys[count + 1], keys[count + 2] = prefix .. RECORD .. id, prefix .. TOMBSTONE .. id
      count = count + 2
    end
    for at = 1, #others do
      turn_to(others[at])
      keys[count + 2 * at - 1], keys[count + 2 * at] = prefix .. PAUSES, prefix .. INDEX .. OFF
    end
    if call('EXISTS', unpack(keys)) == 0 then
      for at = 1, #others do has_pauses[others[at]], switched_off[others[at]] = false, {} end
    elseif call('EXISTS', unpack(keys, 1, count)) ~= 0 then
      return false
    end
  end
  return true
end

-- Returns a new record without the keys of kinds that are switched off.
-- Seldom: made where it is called.
local function with_kinds_on(record)
  local was = keys_in(record)
  local keys = keys_on(was)
  if #keys == #was then return record end
  local header = header_in(record)
  local place = KEYS_AT - 1 + #keys + #header + SPARE
  return sub(record, 1, 59) .. lengths(place, 0) .. keys .. header .. ('\0'):rep(SPARE)
    .. sub(record, byte(record, 60) * 256 + byte(record, 61) + 1)
end

local function create(at, is_new)
  local id, record, data, due, offer, key =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  if key ~= '' then
    local name, content = prefix .. RESERVATION .. sub(key, 1, 16), sub(key, 17)
    local held = call('GET', name)
    if held then
      if sub(held, 17) ~= content then return 'K' end
      id, is_new = sub(held, 1, 16), false
    else
      call('SET', name, id .. content, 'PX', ARGV[at + 6])
    end
  end
  if not is_new or touched[id] then
    settle(id)
    local h = read_front(id)
    if h then
      if sub(h, 17, 24) ~= sub(record, 17, 24) then return 'E' .. id, read_record(id) end
      return 'N' .. id .. sub(h, 25, 32) .. pack(stamp_in_outbox(id, h) or 0)
    end
    -- Its first try may be so long ago that it has run and was removed since.
    local tombstone = call('GET', prefix .. TOMBSTONE .. id)
    if tombstone and sub(tombstone, 9, 16) == sub(record, 17, 24) then
      return 'N' .. id .. sub(tombstone, 17, 24) .. pack(0)
    end
    if tombstone and key ~= '' then return 'S' .. id end
  end

  touched[id] = true
  local sequence = tick()
  local chain = sub(record, 42, 57)
  local head = true
  if chain ~= NO_CHAIN then
    call('ZADD', prefix .. CHAIN .. chain, decimal(sequence), id)
    head = call('ZCARD', prefix .. CHAIN .. chain) == 1
  end
  if due ~= '' then later(id, 'ZADD', DUE, due, id) end
  add_to_index(sub(record, 41, 41), id)
  -- Its place in the order serves as its first stamp too: one number less.
  local stamp, scope = 0, nil
  if offer == 'a' and head then
    scope = paused_scope(ARGV[at + 7])
    if scope then
      add_to_held(id, scope)
    else
      stamp = sequence
      add_to_outbox(id, record, sequence)
    end
  end
  local numbers = struct.pack('>I8I8', sequence, stamp)
  if next(kinds_off()) then
    record = with_kinds_on(record)
  end
  local name = prefix .. RECORD .. id
  call('SET', name, record)
  call('SETRANGE', name, '24', scope and pack(sequence) .. scope or numbers)
  if data ~= '' then call('SET', name .. DATA, data) end
  enter_indexes(id, record)
  count_new(id, record, data, head and chain ~= NO_CHAIN)
  return 'N' .. id .. numbers
end
