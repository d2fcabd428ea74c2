-- repair: brings operations of one partition to the places that their records name, each
-- if its record is still as the caller has seen it.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  1 'h' to offer no operation of a chain: another member that belongs in front of it
--         may not be back in its chain yet; else '-'
--       per repair, 4: a letter; the id (16); the record up to its body as it was seen,
--       or '' if there was none; an argument:
--         s enter it into the index of its state
--         o put it into the outbox, if it is Ready, could run, and is in no place
--         x enter it into the further index of this name
--         d its time in the due set, ms; '' to take it out
--         e enter its end into this class
--         w take this entry, behind the letter of its class, out of the ends
--         l give it a lock that no one renews, if it has none that can be read
--         c enter it into its chain, at this place
--         m take it out of this chain (16)
-- Returns a letter per repair: r made; '-' not made, because the operation has changed
local REPAIRS = 4
-- A lock without a known holder: its lease, ms, and its owner. A worker may still run the
-- operation: it notices within its own lease, 30 s unless it is set, that it has lost it.
local LEASE_WITHOUT_HOLDER = 60000
local NO_OWNER = ('\0'):rep(16)
local holds_chains = ARGV[1] == 'h'
most = #ARGV

-- A Ready operation that could run and is in no place is put into the outbox. Returns
-- true if it was.
local function offer(id)
  write_gathered()
  local h = read_checked(id)
  if not has_layout(h) or sub(h, 41, 41) ~= OFFERED or place_of_ready(id, h) ~= '-' then
    return false
  end
  if holds_chains and sub(h, 42, 57) ~= NO_CHAIN then return false end
  local before = is_held(h) and NO_STAMP or place_of(h)
  remove_offer(id, h)
  put_on_offer(id, h, stamp_after(before))
  return true
end

-- The head of a chain has changed: the one before waits now, and the new one is offered.
local function hand_over(key, head)
  local next_head = call('ZRANGE', key, '0', '0')[1]
  if next_head == head then return end
  local h = head and read_checked(head)
  if has_layout(h) and sub(h, 41, 41) == OFFERED then
    remove_offer(head, h)
    if is_held(h) then write_place(head, NO_STAMP) end
  end
  if next_head then offer(next_head) end
end

-- Enters an operation into its chain, at its place. The head stays the head while it
-- runs: otherwise two of a token would run at the same time.
local function enter_chain(id, h, place)
  local key = prefix .. CHAIN .. sub(h, 42, 57)
  local head, score, _, next_score = unpack(call('ZRANGE', key, '0', '1', 'WITHSCORES'))
  local first = head and read_checked(head)
  if has_layout(first) and sub(first, 41, 41) == NOWHERE then
    local behind_it = head == id and next_score or place
    local its_place = head == id and place or score
    if tonumber(behind_it) < tonumber(its_place) then return false end
  end
  write_gathered()
  call('ZADD', key, place, id)
  hand_over(key, head)
  -- It is the head, and was it before: nothing was handed over.
  offer(id)
  return true
end

local function leave_chain(id, chain)
  local key = prefix .. CHAIN .. chain
  local head = call('ZRANGE', key, '0', '0')[1]
  call('ZREM', key, id)
  if head == id then
    local next_head = call('ZRANGE', key, '0', '0')[1]
    if next_head then offer(next_head) end
  end
  return true
end

local function give_lock(id, h)
  local lock = call('HGET', prefix .. LOCKS, id)
  if sub(h, 41, 41) ~= NOWHERE or (lock and #lock == BYTES_OF_LOCK) then return false end
  local numbers = struct.pack('>I8I8I8', tick(), 0, LEASE_WITHOUT_HOLDER)
  call('HSET', prefix .. LOCKS, id, NO_OWNER .. numbers .. '0')
  return true
end

local function enter_further(id, h, name)
  local kind, keys = sub(name, 1, 1), keys_in(h)
  if kinds_off()[kind] then return false end
  if kind == TOKEN then
    add_to_further(TOKEN, sub(h, CHAIN_AT, CHAIN_AT + HASH - 1), id)
    return true
  end
  for at = 4, #keys, KEY do
    if sub(keys, at, at) == kind then
      add_to_further(name, sub(keys, at + 1, at + HASH), id)
      return true
    end
  end
  return false
end

local function make(letter, id, h, argument)
  if letter == 'd' then
    if argument == '' then
      call('ZREM', prefix .. DUE, id)
    elseif h then
      call('ZADD', prefix .. DUE, argument, id)
    end
    return true
  end
  if letter == 'w' then
    remove_later(id, ENDS .. sub(argument, 1, 1), sub(argument, 2), true)
    return true
  end
  if letter == 'm' then return leave_chain(id, argument) end
  if not h then return false end
  if letter == 's' then
    add_to_index(sub(h, 41, 41), id)
    return true
  end
  if letter == 'o' then
    -- It may be in a place already.
    offer(id)
    return true
  end
  if letter == 'x' then return enter_further(id, h, argument) end
  if letter == 'e' then
    add_later(id, ENDS .. argument, entry_of(id, h), true)
    return true
  end
  if letter == 'l' then return give_lock(id, h) end
  if letter == 'c' then return enter_chain(id, h, argument) end
  return false
end

-- True for operations that were as the caller had seen them: several repairs of one see
-- what those before have changed.
local answers, agreed = {}, {}
for at = 2, #ARGV, REPAIRS do
  local id, seen = ARGV[at + 1], ARGV[at + 2]
  write_gathered()
  local h = read_checked(id)
  if agreed[id] == nil then agreed[id] = h ~= NO_RECORD and (h or '') == seen end
  answers[#answers + 1] = agreed[id] and make(ARGV[at], id, h, ARGV[at + 3]) and 'r' or '-'
end
write_gathered()
call('INCRBY', KEYS[#KEYS], '1')
return table.concat(answers)
