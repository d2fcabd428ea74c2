-- The further indexes: the common part of create.lua, commit.lua, transact.lua,
-- reindex.lua, newest_with.lua and index_sizes.lua, behind the prelude.
--
-- An index is a set in buckets of hash (6) .. id (16): the operations with one
-- value are neighbours in it, in order of creation. Its key is the
-- prefix of the indexes and its name: a letter for the kind and, where it is
-- kept by status, a letter for the shelf.
--
-- `h` says which entries an operation has, from KEYS_AT on:
--        1 the shelves (2), of the two kinds that are kept by status: a letter, '-' for none
--        3 the number of keys (1)
--        4 the keys (7 each): letter of the kind, hash (6)
-- and the token's, which is the beginning of the chain. The first key is the flow, and
-- the second one (g or G) the organization: these have no index.
--
-- A kind that is switched off is in a set of letters behind the prefix of the
-- indexes. No operation enters its index.
local KEYS_AT, CHAIN_AT = 64, 42
local KEY, HASH = 7, 6
-- The kinds that are kept by status: the first and the second shelf are theirs.
local FIRST_KIND, SECOND_KIND = ('mu'):byte(1, 2)
local TOKEN = 't'
local OFF = 'off'

-- The kinds that are switched off, by partition.
local switched_off = {}
local function kinds_off()
  local off = switched_off[place]
  if not off then
    off = {}
    for _, letter in ipairs(call('SMEMBERS', prefix .. INDEX .. OFF)) do off[letter] = true end
    switched_off[place] = off
  end
  return off
end

-- The keys of an operation, with its shelves.
local function keys_in(h)
  return sub(h, KEYS_AT, KEYS_AT + 2 + KEY * byte(h, KEYS_AT + 2))
end

-- The header of an operation, with its length.
-- Seldom: made where it is called.
local function header_in(h)
  local at = KEYS_AT + #keys_in(h)
  return sub(h, at, at + 1 + struct.unpack('>I2', h, at))
end

-- Returns the keys without those of kinds that are switched off.
-- Seldom: made where it is called.
local function keys_on(keys)
  local off = kinds_off()
  if not next(off) then return keys end
  local kept = {}
  for at = 4, #keys, KEY do
    if not off[sub(keys, at, at)] then kept[#kept + 1] = sub(keys, at, at + HASH) end
  end
  return sub(keys, 1, 2) .. string.char(#kept) .. table.concat(kept)
end

-- Returns nil if the operation is on no shelf of the index, or there is no index.
local function index_name(kind, shelves)
  if kind == 'q' or kind == 'g' or kind == 'G' then return nil end
  local at = kind == 'm' and 1 or kind == 'u' and 2
  if not at then return kind end
  local shelf = sub(shelves, at, at)
  if shelf == NOWHERE then return nil end
  return kind .. shelf
end

-- The layout of an index is known in these four functions.
local function add_to_further(name, hash, id)
  add_later(id, INDEX .. name, hash .. id, true)
end

local function remove_from_further(name, hash, id)
  remove_later(id, INDEX .. name, hash .. id, true)
end

-- Returns ids, newest first: those below `upper`, and from `lower` on. Both are
-- the first bytes of an id; an empty `upper` stands for no bound.
local function newest_in_further(name, hash, upper, lower, count)
  local max = upper == '' and '[' .. hash .. ('\255'):rep(16) or '(' .. hash .. upper
  local entries = set_range_down(prefix .. INDEX .. name, max, '[' .. hash .. lower, count)
  for at, entry in ipairs(entries) do entries[at] = sub(entry, HASH + 1) end
  return entries
end

-- About how many.
local function size_of_further(name, hash)
  return set_count(prefix .. INDEX .. name, '[' .. hash, '[' .. hash .. ('\255'):rep(16))
end

-- Enters an operation into the indexes of its keys.
local function enter_indexes(id, h)
  local keys = keys_in(h)
  for at = 4, #keys, KEY do
    local name = index_name(sub(keys, at, at), keys)
    if name then add_to_further(name, sub(keys, at + 1, at + HASH), id) end
  end
  local chain = sub(h, CHAIN_AT, CHAIN_AT + 15)
  if chain ~= NO_CHAIN and not kinds_off()[TOKEN] then
    add_to_further(TOKEN, sub(chain, 1, HASH), id)
  end
end

-- Takes an operation out of the indexes of its keys, or, if `kinds` is given,
-- out of those of these kinds.
-- Seldom: made where it is called.
local function leave_indexes(id, h, kinds)
  local keys = keys_in(h)
  for at = 4, #keys, KEY do
    local kind = sub(keys, at, at)
    local name = (not kinds or kinds[kind]) and index_name(kind, keys)
    if name then remove_from_further(name, sub(keys, at + 1, at + HASH), id) end
  end
  local chain = sub(h, CHAIN_AT, CHAIN_AT + 15)
  if chain ~= NO_CHAIN and (not kinds or kinds[TOKEN]) then
    remove_from_further(TOKEN, sub(chain, 1, HASH), id)
  end
end

-- Moves an operation to other shelves, and returns its keys with these.
local function move_to_shelves(id, h, shelves)
  local keys = keys_in(h)
  if sub(keys, 1, 2) == shelves then return keys end
  for at = 4, #keys, KEY do
    local letter = byte(keys, at)
    local shelf = letter == FIRST_KIND and 1 or letter == SECOND_KIND and 2
    if shelf and byte(keys, shelf) ~= byte(shelves, shelf) then
      local kind, hash = sub(keys, at, at), sub(keys, at + 1, at + HASH)
      local was, is = index_name(kind, keys), index_name(kind, shelves)
      if was then remove_from_further(was, hash, id) end
      if is then add_to_further(is, hash, id) end
    end
  end
  return shelves .. sub(keys, 3)
end
