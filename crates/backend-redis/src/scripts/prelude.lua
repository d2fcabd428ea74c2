-- The common part of the scripts that change records, or read them with what
-- else is known of them; it is put in front of them, behind lib_buckets.lua and
-- lib_bucket_changes.lua.
--
-- KEYS  one for each partition: the prefix of all its keys, hence of one slot.
--       commit.lua, create.lua and transact.lua take several partitions, which
--       a Redis Cluster would refuse. Behind the prefix:
--         op: + id (16 bytes)      a record, string
--         chain: + key (16 bytes)  a chain, zset sequence -> id
--         index: + letter          an index, set of ids
--         due                      the due set, zset ms -> id
--         dispatch                 the outbox, set of flow (6) + stamp (8) + id
--         offered                  the offered set, set of flow (6) + id
--         held                     the held set, set of scope (8) + id
--         pauses                   the pauses, hash scope -> its end
--         locks                    the locks, hash id -> lock
--         tick                     the tick, number
--         gone: + id               a tombstone
--         ended: + letter          the ends of a class, set of stamp (8) + id
--         notices                  the notices, zset when -> id
--         key: + key (16 bytes)    the reservation of an idempotency key
--       keys.rs has the same names. A "set" is one of lib_buckets.lua.
--       The scripts that may give maintenance work count their calls: the last of
--       their KEYS is the number of changes, of the whole store, or of the partition
--       in a cluster.
--
-- A record is a string: `h`, spare room, the report, the body. `h` is these
-- fields of fixed width, numbers big-endian, then two parts of any length.
-- record.rs says the same.
--        1 version (8)    9 last commit (8)   17 first commit (8)
--       25 sequence (8)  33 stamp (8)         41 index, a letter
--       42 chain (16), zeros if it has none
--       58 format, a letter
--       59 the parts that are in keys of their own: 1 the data of the body,
--          2 report, 4 checkpoint, added
--       60 the length of all in front of the body (2)
--       62 the length of the report in front of the body (2)
--       64 keys of further indexes; lib_indexes.lua has their layout
--          the header, with its length (2) before it
-- The stamp is that of the last offer, and that of the end once it is Completed:
-- with the id, and in the outbox with the flow before it, it is the entry there.
-- While a pause holds the operation, the scope of the pause stands there instead;
-- its first bit is set, that of a stamp is not. lib_pauses.lua has more of it.
--
-- A Ready operation is in one of four places, and no other operation is in any:
--   the outbox   it ought to be in the broker, and is not known to be
--   offered      the broker has confirmed the offer with the stamp of the record
--   held         a pause holds it: lib_pauses.lua
--   a chain      behind the head, and in none of the three: it is parked
--
-- A flow is the hash of a queue and an organization. Its first bit is set, so a
-- queue's flows are neighbours behind all entries without a flow: the flow of a
-- record that an earlier build wrote is no bytes.
-- An operation is in one index or, if the letter is '-', in none: locked
-- operations are found among the locks.
--
-- A change writes what is in front of the body, which never changes. What is
-- large is in a key of its own, the record's with ':data', ':report' or
-- ':checkpoint': no script needs it, and no change of the record copies it. What
-- stands in the record is all that a summary needs.
--
-- The history of an operation is a list under the key of its record and
-- ':history', and so are the outputs of its attempts with ':output': lib_commit.lua.
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

-- Names of keys, behind the prefix of the partition.
local RECORD, CHAIN, INDEX, DUE = 'op:', 'chain:', 'index:', 'due'
local OUTBOX, OFFERED_SET, HELD, PAUSES = 'dispatch', 'offered', 'held', 'pauses'
local LOCKS, TICK, TOMBSTONE, ENDS = 'locks', 'tick', 'gone:', 'ended:'
local NOTICES, RESERVATION = 'notices', 'key:'

-- The prefix, and the place in KEYS, of the partition that the script has turned to. The
-- place is written as in the arguments.
local prefix, place = KEYS[1], '1'
-- The last number that was taken of the tick of each other partition.
local lasts = {}

-- The one index whose operations may be offered.
local OFFERED = '0'
local NOWHERE = '-'
local NO_CHAIN = ('\0'):rep(16)
local NO_STAMP = ('\0'):rep(8)
-- The letter of the flow, which is the first of the keys.
local FLOW = ('q'):byte()
-- Behind the key of a record: the keys of its history and of its large parts.
local HISTORY, DATA, REPORT, CHECKPOINT = ':history', ':data', ':report', ':checkpoint'
-- The last byte, from 0, of what read_front() reads: all keys are within it.
local FRONT_END = '135'

local call = redis.call
local sub, byte = string.sub, string.byte

local function pack(number) return struct.pack('>I8', number) end
local function number(bytes) return (struct.unpack('>I8', bytes)) end

-- The answers to several items are one list, and an answer is a string: a list in
-- a list costs Redis more than all its content. A record that belongs to an
-- answer follows it in the list, as it was read: Lua takes time for every byte of
-- every string that it makes. record.rs takes records apart.

-- The bytes of records for which the answer of this script has room. A longer
-- answer would hold up all answers behind it.
local room = 256 * 1024

-- Appends an answer, and the records that belong to it: the operation's own, and
-- that of the next head. The own one is '' if the answer has no room for it, or if
-- it has parts in keys of their own: the caller reads it then, with its parts.
local function append_answer(answers, answer, own, next_record)
  local count = #answers + 1
  answers[count] = answer
  if own then
    if byte(own, 59) ~= 0 or #own > room then own = '' end
    room = room - #own
    count = count + 1
    answers[count] = own
  end
  if next_record then
    room = room - #next_record
    answers[count + 1] = next_record
  end
end

-- Hands out numbers that only grow: the time in microseconds if that has moved
-- on, else the last one + 1. One script takes at most `most` of a partition,
-- which it sets before it takes the first; the numbers that it leaves over are
-- lost, which does no harm. The time of the first is kept, for all partitions and in
-- seconds: the numbers are ahead of it after a clock was set back.
local seconds, micros
local function tick()
  if not last then
    if not micros then
      local time = call('TIME')
      seconds = tonumber(time[1])
      micros = seconds * 1000000 + time[2]
    end
    last = micros - 1
    local key = prefix .. TICK
    local before = tonumber(call('SET', key, decimal(last + most), 'GET') or 0)
    if before > last then
      last = before
      call('SET', key, decimal(last + most))
    end
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
-- Of the sets in buckets: the members to add and to remove, by name.
local set_names, set_adds, set_removes = {}, {}, {}
-- The sets whose members are not counted.
local uncounted = {}
-- The operations that this script has changed.
local touched = {}
-- Arguments in one command: far below what Lua can unpack.
local MOST_GATHERED = 1000
-- True if the script has one item: there is nothing to gather with then.
local is_alone

local function write_gathered()
  for at = 1, command_count do
    local arguments = commands[at]
    call(unpack(arguments, 1, arguments.count))
  end
  if command_count > 0 then gathered, commands, command_count = {}, {}, 0 end
  local count = #set_names
  if count == 0 then return end
  local set_add, set_remove = for_several()
  for at = 1, count do
    local name = set_names[at]
    local key, removes, adds = prefix .. name, set_removes[name], set_adds[name]
    counts_members = not uncounted[name]
    if removes then set_remove(key, removes) end
    if adds then set_add(key, adds) end
  end
  set_names, set_adds, set_removes = {}, {}, {}
end

-- Turns to the partition at this place in KEYS. Each has a tick of its own. What was
-- gathered is written, as it has names without the prefix.
local function turn_to(partition)
  if partition == place then return end
  write_gathered()
  lasts[place] = last
  place, last, prefix = partition, lasts[partition], KEYS[tonumber(partition)]
end

-- Gathers `command` with the key of this name and, for this operation, `first` and perhaps
-- `second`.
local function later(id, command, name, first, second)
  touched[id] = true
  if is_alone then
    if second then return call(command, prefix .. name, first, second) end
    return call(command, prefix .. name, first)
  end
  local by_name = gathered[command]
  if not by_name then
    by_name = {}
    gathered[command] = by_name
  end
  local arguments = by_name[name]
  if not arguments or arguments.count > MOST_GATHERED then
    arguments = { command, prefix .. name, count = 2 }
    by_name[name] = arguments
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

-- Gathers a member that a set in buckets is to have, by the name of the set;
-- `is_uncounted` if no script asks for its number of members.
local function add_later(id, name, member, is_uncounted)
  touched[id] = true
  if is_alone then
    counts_members = not is_uncounted
    return add_one(prefix .. name, member)
  end
  local members = set_adds[name]
  if members then
    members[#members + 1] = member
    return
  end
  set_adds[name] = { member }
  if not set_removes[name] then
    set_names[#set_names + 1] = name
    uncounted[name] = is_uncounted
  end
end

-- Likewise, a member to be removed.
local function remove_later(id, name, member, is_uncounted)
  touched[id] = true
  if is_alone then
    counts_members = not is_uncounted
    return remove_one(prefix .. name, member)
  end
  local members = set_removes[name]
  if members then
    members[#members + 1] = member
    return
  end
  set_removes[name] = { member }
  if not set_adds[name] then
    set_names[#set_names + 1] = name
    uncounted[name] = is_uncounted
  end
end

-- Must be called before gathered parts of an operation are read, and before a
-- second change of such a part: gathered writes have no order.
local function settle(id)
  if touched[id] then write_gathered() end
end

-- The layout of records, indexes, outbox and ends is known below, and in the
-- scripts that read many of them; the other scripts call these functions.

-- Returns the start of a record, or false if there is no such record. The fields
-- and the keys are within it.
local function read_front(id)
  local front = call('GETRANGE', prefix .. RECORD .. id, '0', FRONT_END)
  return front ~= '' and front
end

-- Returns a record, or false if there is none: with its body, of which large data
-- are in a key of its own. So it is short, whatever the payload.
local function read_record(id) return call('GET', prefix .. RECORD .. id) end

-- Returns a record up to its body, and perhaps some bytes more; or false if there
-- is none.
-- Seldom: made where it is called.
local function read_h(id)
  local h = call('GETRANGE', prefix .. RECORD .. id, '0', '255')
  if h == '' then return false end
  local high, low = byte(h, 60, 61)
  if high == 0 then return h end
  return call('GETRANGE', prefix .. RECORD .. id, '0', decimal(high * 256 + low - 1))
end

-- The parts of a record that are in keys of their own; `h` may be its start.
-- Seldom: made where it is called.
local function keys_of_parts(id, h)
  local key, parts, keys = prefix .. RECORD .. id, byte(h, 59), {}
  if parts % 2 >= 1 then keys[1] = key .. DATA end
  if parts % 4 >= 2 then keys[#keys + 1] = key .. REPORT end
  if parts >= 4 then keys[#keys + 1] = key .. CHECKPOINT end
  return keys
end

local function add_to_index(name, id)
  if name ~= NOWHERE then add_later(id, INDEX .. name, id) end
end

local function remove_from_index(name, id)
  if name ~= NOWHERE then remove_later(id, INDEX .. name, id) end
end

-- The entry of an operation with this `h` among the ends or in the held set.
local function entry_of(id, h) return sub(h, 33, 40) .. id end

-- The flow of an operation with this `h`, or no bytes.
local function flow_of(h)
  local count, letter = byte(h, 66, 67)
  return letter == FLOW and count > 0 and sub(h, 68, 73) or ''
end

-- The entry of an operation with this `h` in the outbox.
local function outbox_entry_of(id, h) return flow_of(h) .. entry_of(id, h) end

local function add_to_outbox(id, h, stamp)
  add_later(id, OUTBOX, flow_of(h) .. pack(stamp) .. id)
end

-- The broker has confirmed the entry of an operation with this `h`.
local function move_to_offered(id, h)
  local flow = flow_of(h)
  remove_later(id, OUTBOX, flow .. sub(h, 33, 40) .. id)
  add_later(id, OFFERED_SET, flow .. id, true)
end

-- The stamp of the last offer, or the scope of the pause that holds it.
local function place_of(h) return sub(h, 33, 40) end

local function write_place(id, place) call('SETRANGE', prefix .. RECORD .. id, '32', place) end

local function is_held(h) return byte(h, 33) >= 128 end

-- Takes an operation out of the outbox, the offered set or the held set.
local function remove_offer(id, h)
  if is_held(h) then
    remove_later(id, HELD, entry_of(id, h))
    return
  end
  local flow = flow_of(h)
  remove_later(id, OUTBOX, flow .. sub(h, 33, 40) .. id)
  remove_later(id, OFFERED_SET, flow .. id, true)
end

-- Returns the stamp of an operation's entry in the outbox, or nil.
-- Seldom: made where it is called.
local function stamp_in_outbox(id, h)
  return set_has(prefix .. OUTBOX, outbox_entry_of(id, h)) and number(sub(h, 33, 40)) or nil
end

local function add_to_ends(class, stamp, id)
  add_later(id, ENDS .. class, pack(stamp) .. id, true)
end

-- Seldom: made where it is called.
local function remove_from_ends(id, h)
  local entry = entry_of(id, h)
  for class in ('sut'):gmatch('.') do remove_later(id, ENDS .. class, entry, true) end
end

-- Puts an operation into the outbox.
local function put_on_offer(id, h, stamp)
  add_to_outbox(id, h, stamp)
  write_place(id, pack(stamp))
end
