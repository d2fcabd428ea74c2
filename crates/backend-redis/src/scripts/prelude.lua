-- The common part of the scripts that change records, or read them with what
-- else is known of them; it is put in front of them, behind lib_buckets.lua and
-- lib_bucket_changes.lua.
--
-- KEYS  one for each partition: the prefix of all its keys, hence of one slot.
--       commit.lua, create.lua and transact.lua take several partitions, which
--       a Redis Cluster would refuse. Behind the prefix:
--         op: + id (16 bytes)      a record, hash
--         chain: + key (16 bytes)  a chain, zset sequence -> id
--         index: + letter          an index, set of ids
--         due                      the due set, zset ms -> id
--         dispatch                 the outbox, set of stamp (8) + id
--         locks                    the locks, hash id -> lock
--         tick                     the tick, number
--         gone: + id               a tombstone
--         ended: + letter          the ends of a class, set of stamp (8) + id
--         notices                  the notices, zset when -> id
--         key: + key (16 bytes)    the reservation of an idempotency key
--       keys.rs has the same names. A "set" is one of lib_buckets.lua.
--
-- A record is a hash: b = body, r = report (absent: empty), h = these fields of
-- fixed width, numbers big-endian, then the header. record.rs says the same.
--        1 version (8)    9 last commit (8)   17 first commit (8)
--       25 sequence (8)  33 stamp (8)         41 index, a letter
--       42 chain (16), zeros if it has none
--       58 keys of further indexes, of any length; lib_indexes.lua has their
--          layout. Behind them is the header.
-- The stamp is that of the last offer, and that of the end once it is Completed:
-- with the id it is the entry in the outbox or among the ends.
-- An operation is in one index or, if the letter is '-', in none: locked
-- operations are found among the locks.
--
-- The history of an operation is a list under the key of its record and
-- ':history': lib_commit.lua.
--
-- A lock: 1 owner (16)   17 fence (8)   25 beat (8)   33 lease in ms (8)
--        41 '1' if its holder is asked to stop, else '0'
--
-- The ends are in classes: s succeeded, u unsuccessful, t transient.
--
-- A notice is due at a time; the score is 256 * ms + how often it was tried.
--
-- A tombstone: 1 commit that removed it (8)   9 first commit (8)
--              17 sequence (8). It expires: a repetition does not come later,
--              nor a create whose key stands for the operation.
--
-- A reservation: 1 id (16)   17 content (16). It expires.
--
-- Every number that Lua computes with is below 2^53 (microseconds since 1970
-- are below 2^51); numbers that may be larger are compared as bytes.

-- The last number that was taken of the tick; nothing before the first.
local last
-- The most numbers that the script takes of the tick of the partition that it
-- has turned to.
local most = 1

local RECORD, CHAIN, INDEX, DUE, OUTBOX, LOCKS, TICK, TOMBSTONE, ENDS, NOTICES, RESERVATION

-- Turns to the partition at this place in KEYS. Each has a tick of its own.
local lasts, names, place = {}, {}, 0
local function turn_to(partition)
  if partition == place then return end
  lasts[place] = last
  place, last = partition, lasts[partition]
  local known = names[partition]
  if not known then
    local prefix = KEYS[partition]
    known = {
      prefix .. 'op:', prefix .. 'chain:', prefix .. 'index:',
      prefix .. 'due', prefix .. 'dispatch', prefix .. 'locks', prefix .. 'tick',
      prefix .. 'gone:', prefix .. 'ended:', prefix .. 'notices', prefix .. 'key:',
    }
    names[partition] = known
  end
  RECORD, CHAIN, INDEX, DUE, OUTBOX, LOCKS, TICK, TOMBSTONE, ENDS, NOTICES, RESERVATION =
    unpack(known)
end
turn_to(1)

-- The one index whose operations may be offered.
local OFFERED = '0'
local NOWHERE = '-'
local NO_CHAIN = ('\0'):rep(16)
-- Behind the key of a record: the key of its history.
local HISTORY = ':history'

local call = redis.call
local sub, byte = string.sub, string.byte

local function pack(number) return struct.pack('>I8', number) end
local function number(bytes) return (struct.unpack('>I8', bytes)) end

-- Answers are strings, and their parts are put together here: a table costs
-- Redis more than all its content. A part without a fixed width has its length
-- (4 bytes) before it. reply.rs takes them apart.
local function two(a, b) return struct.pack('>I4c0I4c0', #a, a, #b, b) end
local function three(a, b, c) return struct.pack('>I4c0I4c0I4c0', #a, a, #b, b, #c, c) end

-- Hands out numbers that only grow: the time in microseconds if that has moved
-- on, else the last one + 1. One script takes at most `most` of a partition,
-- which it sets before it takes the first; the numbers that it leaves over are
-- lost, which does no harm.
local function tick()
  if not last then
    local time = call('TIME')
    last = time[1] * 1000000 + time[2] - 1
    local before = tonumber(call('GET', TICK) or 0)
    if before > last then last = before end
    call('SET', TICK, decimal(last + most))
  end
  last = last + 1
  return last
end

-- A stamp for an operation whose last one was `before` (8 bytes). A delayed
-- offer has a stamp that lies ahead of the tick; the next stamp must follow it.
local function stamp_after(before)
  local stamp = tick()
  local least = number(before) + 1
  if stamp < least then stamp = least end
  return stamp
end

-- Writes to the sets that the operations of a partition share are gathered, and
-- written with one command per set: a command costs Redis several times as much
-- as a further member in it, most of all when it is written to the append-only
-- file. A script that reads such a set for an operation calls settle() first,
-- and every script that gathers ends with write_gathered().
--
-- Records and chains are not gathered: the next item may read them.
local gathered, commands, command_count = {}, {}, 0
-- Of the sets in buckets: the members to add and to remove, by key.
local set_keys, set_adds, set_removes = {}, {}, {}
-- The operations that this script has changed.
local touched = {}
-- Arguments in one command: far below what Lua can unpack.
local MOST_GATHERED = 1000

local function write_gathered()
  for at = 1, command_count do
    local arguments = commands[at]
    call(unpack(arguments, 1, arguments.count))
  end
  if command_count > 0 then gathered, commands, command_count = {}, {}, 0 end
  for at = 1, #set_keys do
    local key = set_keys[at]
    local removes, adds = set_removes[key], set_adds[key]
    if removes then set_remove(key, removes) end
    if adds then set_add(key, adds) end
    set_removes[key], set_adds[key] = nil, nil
  end
  if #set_keys > 0 then set_keys = {} end
end

-- Gathers `command` with `key` and, for this operation, `first` and perhaps
-- `second`.
local function later(id, command, key, first, second)
  touched[id] = true
  local by_key = gathered[command]
  if not by_key then
    by_key = {}
    gathered[command] = by_key
  end
  local arguments = by_key[key]
  if not arguments or arguments.count > MOST_GATHERED then
    arguments = { command, key, count = 2 }
    by_key[key] = arguments
    command_count = command_count + 1
    commands[command_count] = arguments
  end
  local count = arguments.count + 1
  arguments[count] = first
  if second then
    count = count + 1
    arguments[count] = second
  end
  arguments.count = count
end

-- Gathers a change of a set in buckets; `is_uncounted` if no script asks for its
-- number of members.
local function change_set(id, changes, key, member, is_uncounted)
  touched[id] = true
  if is_uncounted then uncounted[key] = true end
  local members = changes[key]
  if members then
    members[#members + 1] = member
    return
  end
  if not (set_adds[key] or set_removes[key]) then set_keys[#set_keys + 1] = key end
  changes[key] = { member }
end

-- Must be called before gathered parts of an operation are read, and before a
-- second change of such a part: gathered writes have no order.
local function settle(id)
  if touched[id] then write_gathered() end
end

-- The layout of records, indexes, outbox and ends is known below, and in the
-- scripts that read many of them; the other scripts call these functions.

-- Returns `h`, or false if there is no such record.
local function read_h(id) return call('HGET', RECORD .. id, 'h') end

-- Returns `h`, the body, and the report or false; `h` is false if there is no
-- such record.
local function read_record(id)
  return unpack(call('HMGET', RECORD .. id, 'h', 'b', 'r'))
end

local function write_new_record(id, h, body)
  call('HSET', RECORD .. id, 'h', h, 'b', body)
end

-- Writes `h` and, if it is given, the report.
local function write_h(id, h, report)
  if report then
    call('HSET', RECORD .. id, 'h', h, 'r', report)
  else
    call('HSET', RECORD .. id, 'h', h)
  end
end

local function remove_record(id) call('DEL', RECORD .. id) end

local function add_to_index(name, id)
  if name ~= NOWHERE then change_set(id, set_adds, INDEX .. name, id) end
end

local function remove_from_index(name, id)
  if name ~= NOWHERE then change_set(id, set_removes, INDEX .. name, id) end
end

-- The entry of an operation with this `h` in the outbox or among the ends.
local function entry_of(id, h) return sub(h, 33, 40) .. id end

local function add_to_outbox(id, stamp) change_set(id, set_adds, OUTBOX, pack(stamp) .. id) end

local function remove_from_outbox(id, h) change_set(id, set_removes, OUTBOX, entry_of(id, h)) end

-- Returns the stamp of an operation's entry in the outbox, or nil.
local function stamp_in_outbox(id, h)
  return set_has(OUTBOX, entry_of(id, h)) and number(sub(h, 33, 40)) or nil
end

local function add_to_ends(class, stamp, id)
  change_set(id, set_adds, ENDS .. class, pack(stamp) .. id, true)
end

local function remove_from_ends(id, h)
  local entry = entry_of(id, h)
  for class in ('sut'):gmatch('.') do change_set(id, set_removes, ENDS .. class, entry, true) end
end

-- Puts an operation with this `h` into the outbox and returns the new `h`.
local function put_on_offer(id, h, stamp)
  add_to_outbox(id, stamp)
  return sub(h, 1, 32) .. pack(stamp) .. sub(h, 41)
end
