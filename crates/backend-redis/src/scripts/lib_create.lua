-- The common part of create.lua and transact.lua, behind the prelude and
-- lib_indexes.lua.
--
-- create(at) stores one operation, or recognises its own earlier try. Its
-- arguments are ARGV[at] and the seven behind it:
--       1 id (16)
--       2 `h` up to and with the first commit (24)
--       3 `h` from the index on
--       4 body
--       5 when it is due, ms, or ''
--       6 'a': offer it, if it is a head or has no chain; else '-'
--       7 the idempotency key (16) and the content (16), or '' for no key
--       8 for how many ms the key is reserved, or ''
-- Returns 'N', id (16), sequence (8), stamp of its offer (8), or 0
--     or: 'E', id (16), three(h, body, report or ''): another create used the
--         id, or the key was used before and stands for this operation
--     or: 'K': the key is reserved with another content
--     or: 'S', id (16): the key stands for an operation that was removed
-- Takes one number of the tick.
-- `is_new` is true if it is known that there was no such record and no
-- tombstone when the script began.

-- Operations in one question.
local MOST_ASKED = 500

-- Returns true if none of these operations has a record or a tombstone. Each
-- has `step` arguments: its partition, then those of create().
local function all_are_new(step)
  for start = 1, #ARGV, MOST_ASKED * step do
    local keys = {}
    for at = start, math.min(#ARGV, start + (MOST_ASKED - 1) * step), step do
      turn_to(tonumber(ARGV[at]))
      local id = ARGV[at + 1]
      keys[#keys + 1] = RECORD .. id
      keys[#keys + 1] = TOMBSTONE .. id
    end
    if call('EXISTS', unpack(keys)) ~= 0 then return false end
  end
  return true
end

local function create(at, is_new)
  local id, start, rest, body, due, offer, key =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  if key ~= '' then
    local name, content = RESERVATION .. sub(key, 1, 16), sub(key, 17)
    local held = call('GET', name)
    if held then
      if sub(held, 17) ~= content then return 'K' end
      id, is_new = sub(held, 1, 16), false
    else
      call('SET', name, id .. content, 'PX', ARGV[at + 7])
    end
  end
  if not is_new or touched[id] then
    settle(id)
    local h = read_h(id)
    if h then
      if sub(h, 17, 24) ~= sub(start, 17, 24) then
        local _, stored, report = read_record(id)
        return 'E' .. id .. three(h, stored, report or '')
      end
      return 'N' .. id .. sub(h, 25, 32) .. pack(stamp_in_outbox(id, h) or 0)
    end
    -- Its first try may be so long ago that it has run and was removed since.
    local tombstone = call('GET', TOMBSTONE .. id)
    if tombstone and sub(tombstone, 9, 16) == sub(start, 17, 24) then
      return 'N' .. id .. sub(tombstone, 17, 24) .. pack(0)
    end
    if tombstone and key ~= '' then return 'S' .. id end
  end

  touched[id] = true
  local sequence = tick()
  local place = decimal(sequence)
  local chain = sub(rest, 2, 17)
  local head = true
  if chain ~= NO_CHAIN then
    call('ZADD', CHAIN .. chain, place, id)
    head = call('ZCARD', CHAIN .. chain) == 1
  end
  if due ~= '' then later(id, 'ZADD', DUE, due, id) end
  add_to_index(sub(rest, 1, 1), id)
  -- Its place in the order serves as its first stamp too: one number less.
  local stamp = 0
  if offer == 'a' and head then
    stamp = sequence
    add_to_outbox(id, sequence)
  end
  local numbers = struct.pack('>I8I8', sequence, stamp)
  local h = with_kinds_on(start .. numbers .. rest)
  write_new_record(id, h, body)
  enter_indexes(id, h)
  return 'N' .. id .. numbers
end
