-- The common part of commit.lua and transact.lua, behind the prelude: one
-- commit in two steps. check() returns the objection to it, write() makes it;
-- nothing can fail after its first write.
--
-- The arguments of a commit are ARGV[at] and the eleven behind it:
--       1 id (16)
--       2 the codes, 13 letters; '-' is "nothing":
--         1 guard     '-' none, t acquire, h holder, w unchanged
--         2 lock      t take, r release, a ask its holder to stop
--         3 chain     h be its head or fail, l leave, k be its head or fail
--                     and keep it
--         4 due       s set, c clear
--         5 offer     a add, w withdraw
--         6 end       s, u, t: note it in this class
--         7 tell      n: a notice is owed
--         8 remove    r
--         9 record    w: the answer is to bring it
--        10 report    w: write it, and remove the checkpoint; c: write both
--        11 the index to be in: a letter, or '-' for none
--        12 and 13 the shelves of the further indexes to be on: likewise
--       3 the version that is expected (8) and the commit that wrote it (8):
--         after a loss of the last writes, versions are given out twice
--       4 the new version (8) and this commit (8)
--       5 the header, with its length (2) before it
--       6 guard t: owner (16) and lease in ms (8) of the new lock
--         guard h: owner (16), fence (8); guard w: likewise, and beat (8); else ''
--       7 when it is due, ms, or ''
--       8 the report; with a checkpoint its length (4) before it, and the
--         checkpoint behind it
--       9 the entries of the history: ''; or their place (1), a place in the list
--         or 255 for its end, then each with its length (4) before it
--      10 for how many seconds a removal is remembered, or ''
--      11 the scopes (8 each) that must not be paused if a lock is taken, or ''
--      12 the output of the attempt that ends: ''; or its place (1) in the list, its
--         end with its length (4) before it, and its front, '' if the stored front
--         stays
-- The answer to a commit:
--       'D', fence (8), stamp of its offer (8), record, promoted
--           it is made, now or earlier; fence and stamp are 0 if there is none
--           record: '-'; or 'r': the record follows, perhaps as it was before, or
--           '' if the caller is to read it: append_answer()
--           promoted: '-'; or 'p', id (16), stamp (8): its record follows, perhaps
--           with the stamp before
--       'N' not the head: neither in the outbox nor offered any more, nothing else
--       'H', scope (8): it is paused; moved to the held set, nothing else
--       'C', h: another version: this one, perhaps with some bytes behind it
--       'F' the lock is not the one that the guard names
--       'M' no such operation
-- A commit takes at most this many numbers of the tick: for its own lock or
-- offer, its end, and the offer of the next head.
local TICKS_OF_COMMIT = 3
local NOTHING = '-'
-- A repetition comes within the patience of its caller: seconds. A key may
-- stand for the operation for longer.
local TOMBSTONE_SECONDS = 600

local TAKE, HOLDER, UNCHANGED = ('thw'):byte(1, 3)
local RELEASE, ASK, REQUIRE_HEAD, LEAVE, HOLD = ('rahlk'):byte(1, 5)
local SET, CLEAR, ADD, WITHDRAW = ('scaw'):byte(1, 4)
local WITH_CHECKPOINT = CLEAR
local TELL, REMOVE, YES, NO = ('nrw-'):byte(1, 4)

-- The prefix of the sets of requests to stop: the script sets it. The id of a holder
-- follows, and the set has id and fence of each operation that it was asked to
-- stop, so that it need not look at each. A holder looks twice in a second.
local stops
local STOPS_SECONDS = '600'

-- Seldom: made where it is called.
local function ask_to_stop(id, held)
  local key = stops .. sub(held, 1, 16)
  call('SADD', key, id .. sub(held, 17, 24))
  call('EXPIRE', key, STOPS_SECONDS)
end

-- Removes the request to stop.
-- Seldom: made where it is called.
local function has_stopped(id, held)
  call('SREM', stops .. sub(held, 1, 16), id .. sub(held, 17, 24))
end

local function done(fence, stamp, record, promoted)
  return 'D' .. struct.pack('>I8I8', fence, stamp) .. record .. promoted
end

local function promotion_of(id, stamp) return 'p' .. id .. pack(stamp) end

-- The answer to a commit that was made before: the same as then, as far as that
-- still stands. Returns the answer, and the records that follow it.
-- Seldom: made where it is called.
local function made(id, h, lock, chain, offer, wanted)
  write_gathered()
  local fence, stamp, record, promoted = 0, 0, NOTHING, NOTHING
  local own, next_record
  if lock == TAKE then
    local held = call('HGET', prefix .. LOCKS, id)
    if held then fence = number(sub(held, 17, 24)) end
  end
  if offer == ADD then
    stamp = stamp_in_outbox(id, h) or 0
  end
  if wanted == YES then record, own = 'r', h end
  if chain == LEAVE then
    local head = call('ZRANGE', prefix .. CHAIN .. sub(h, 42, 57), '0', '0')[1]
    next_record = head and read_record(head)
    local entry = next_record and stamp_in_outbox(head, next_record)
    if entry then promoted = promotion_of(head, entry) else next_record = nil end
  end
  return done(fence, stamp, record, promoted), own, next_record
end

-- The locks of these operations, as they were when the script began.
local locks = {}
local function read_locks(ids)
  if #ids == 0 then return end
  for at, held in ipairs(call('HMGET', prefix .. LOCKS, unpack(ids))) do locks[ids[at]] = held end
end

-- Returns true if a commit with these codes needs to see the lock.
local function asks_for_lock(guard, lock) return guard == HOLDER or guard == UNCHANGED or lock == ASK end

-- Returns true if a commit with this code starts nothing: it must be possible on a
-- full server, or nothing could end there and make room.
local function must_pass(lock) return lock ~= TAKE end

-- A full server refuses a script whose first write may need room, and lets all
-- that follow pass. This write needs none, and changes nothing.
-- Seldom: made where it is called.
local function insist() call('HDEL', prefix .. LOCKS, '') end

-- Returns nothing, the record as far as it was read, and the lock that was read, if
-- the commit at `at` can be made; else its answer, with the records that follow:
-- it was made before, or an objection stands against it.
local function check(at)
  local id, codes, expected, name = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local guard, lock, chain, _, offer, _, _, remove, wanted = byte(codes, 1, 9)

  settle(id)
  local h
  if wanted == YES then h = read_record(id) else h = read_front(id) end
  if not h then
    local tombstone = remove == REMOVE and call('GET', prefix .. TOMBSTONE .. id)
    if tombstone and sub(tombstone, 1, 8) == sub(name, 9) then
      return done(0, 0, NOTHING, NOTHING)
    end
    return 'M'
  end
  if sub(h, 1, 16) ~= expected then
    if sub(h, 9, 16) == sub(name, 9) then
      return made(id, h, lock, chain, offer, wanted)
    end
    return 'C' .. read_h(id)
  end

  local held
  if asks_for_lock(guard, lock) then
    held = locks[id]
    if held == nil or touched[id] then held = call('HGET', prefix .. LOCKS, id) end
  end
  if guard == HOLDER then
    if not held or sub(held, 1, 24) ~= ARGV[at + 5] then return 'F' end
  elseif guard == UNCHANGED then
    if not held or sub(held, 1, 32) ~= ARGV[at + 5] then return 'F' end
  end
  -- A lock needs an owner.
  if lock == TAKE and guard ~= TAKE then return 'F' end

  if chain == REQUIRE_HEAD or chain == HOLD then
    local chained = sub(h, 42, 57)
    if chained ~= NO_CHAIN and call('ZRANGE', prefix .. CHAIN .. chained, '0', '0')[1] ~= id then
      remove_offer(id, h)
      return 'N'
    end
  end
  if lock == TAKE then
    local scope = paused_scope(ARGV[at + 10])
    if scope then
      hold(id, h, scope)
      return 'H' .. scope
    end
  end
  return nil, h, held
end

-- The history is a list of entries. It is absent while the record itself shows
-- what has happened. history.rs says which entry stands where.
local BEHIND = 255

-- Seldom: made where it is called.
local function add_to_history(id, entries)
  local key, place, at = prefix .. RECORD .. id .. HISTORY, byte(entries), 2
  while at <= #entries do
    local entry
    entry, at = struct.unpack('>I4c0', entries, at)
    -- A list that lacks the place was damaged. That is no reason to refuse a
    -- commit, and the reader looks at the entries' versions.
    if place == BEHIND or redis.pcall('LSET', key, place, entry).err then
      call('RPUSH', key, entry)
    end
  end
end

-- The outputs of the attempts of an operation are a list under the key of its record
-- and ':output': the front of the last attempt that has failed, then the ends of the
-- last four, then the place of that attempt's end, one byte, or the end itself once a
-- later attempt has that place. It is absent while nothing was printed. output.rs has
-- more of it.
local OUTPUT = ':output'
local ASIDE = '5'

-- Seldom: made where it is called.
local function keep_output(id, packed)
  local key = prefix .. RECORD .. id .. OUTPUT
  local last, at = struct.unpack('>I4c0', packed, 2)
  local front, place = sub(packed, at), sub(packed, 1, 1)
  local index = decimal(byte(place))
  if front == '' and call('LINDEX', key, ASIDE) == place then
    call('LSET', key, ASIDE, call('LINDEX', key, index))
  end
  -- The list is absent. A list that lacks the place was damaged, and lacks it still:
  -- no reason to refuse a commit.
  if redis.pcall('LSET', key, index, last).err then
    call('RPUSH', key, '', '', '', '', '', '')
    redis.pcall('LSET', key, index, last)
  end
  if front ~= '' then
    call('LSET', key, '0', front)
    -- A list of an earlier build lacks the place.
    if redis.pcall('LSET', key, ASIDE, place).err then call('RPUSH', key, place) end
  end
end

-- Removes an operation, and notes that this commit has done so, for at least so many seconds.
-- Seldom: made where it is called.
local function remove_operation(id, h, name, least)
  write_gathered()
  local key, was = prefix .. RECORD .. id, sub(h, 41, 41)
  call('DEL', key, key .. HISTORY, key .. OUTPUT, unpack(keys_of_parts(id, h)))
  remove_from_index(was, id)
  leave_indexes(id, h)
  later(id, 'ZREM', DUE, id)
  if was == OFFERED then remove_offer(id, h) end
  later(id, 'HDEL', LOCKS, id)
  remove_from_ends(id, h)
  later(id, 'ZREM', NOTICES, id)
  local seconds = math.max(TOMBSTONE_SECONDS, least)
  call('SET', prefix .. TOMBSTONE .. id, sub(name, 9) .. sub(h, 17, 32), 'EX', decimal(seconds))
end

local ended = {}

-- Makes the commit at `at`, with what check() has read. Returns the answer, and the
-- records that follow it.
local function write(at, h, held)
  local id, codes, name, header = ARGV[at], ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
  local _, lock, chain, due, offer, class, tell, remove, wanted, reported = byte(codes, 1, 10)

  local key_of_chain, head, second
  local chained = sub(h, 42, 57)
  if chained ~= NO_CHAIN and (chain == LEAVE or offer == ADD) then
    key_of_chain = prefix .. CHAIN .. chained
    head, second = unpack(call('ZRANGE', key_of_chain, '0', '1'))
  end
  local next_record
  if chain == LEAVE and head == id then
    next_record = second and read_record(second)
    count_next_head(id, h, second, next_record)
    if second then settle(second) end
    if next_record and (sub(next_record, 41, 41) ~= OFFERED or is_held(next_record)) then
      next_record = nil
    end
    if next_record then
      local is_offered = stamp_in_outbox(second, next_record)
      if is_offered then next_record = nil end
    end
  end

  local fence, stamp, promoted = 0, 0, NOTHING
  if lock == TAKE then
    fence = tick()
    local taker = ARGV[at + 5]
    local owner, lease = sub(taker, 1, 16), sub(taker, 17)
    later(id, 'HSET', LOCKS, id, owner .. struct.pack('>I8I8', fence, 0) .. lease .. '0')
  elseif lock == RELEASE then
    later(id, 'HDEL', LOCKS, id)
    if held and sub(held, 41, 41) == '1' then
      has_stopped(id, held)
    end
  elseif lock == ASK and held then
    later(id, 'HSET', LOCKS, id, sub(held, 1, 40) .. '1')
    ask_to_stop(id, held)
  end

  if due == SET then
    later(id, 'ZADD', DUE, ARGV[at + 6], id)
  elseif due == CLEAR then
    later(id, 'ZREM', DUE, id)
  end

  local was, is = sub(h, 41, 41), sub(codes, 11, 11)
  local stamp_bytes = place_of(h)
  if was == OFFERED and (offer == WITHDRAW or offer == ADD) then
    remove_offer(id, h)
    if is_held(h) then stamp_bytes = NO_STAMP end
  end
  if offer == ADD and (not key_of_chain or head == id) then
    stamp = stamp_after(stamp_bytes)
    stamp_bytes = pack(stamp)
    add_to_outbox(id, h, stamp)
  end

  if class ~= NO then
    local end_stamp = tick()
    stamp_bytes = pack(end_stamp)
    add_to_ends(sub(codes, 6, 6), end_stamp, id)
    ended[#ended + 1] = id
  end
  -- At once: before all notices that were delayed.
  if tell == TELL then later(id, 'ZADD', NOTICES, '0', id) end

  if chain == LEAVE and key_of_chain then
    call('ZREM', key_of_chain, id)
    if next_record then
      local next_stamp = stamp_after(sub(next_record, 33, 40))
      put_on_offer(second, next_record, next_stamp)
      promoted = promotion_of(second, next_stamp)
    end
  end

  if remove == REMOVE then
    remove_operation(id, h, name, tonumber(ARGV[at + 9]) or 0)
  else
    if was ~= is then
      remove_from_index(was, id)
      add_to_index(is, id)
    end
    local keys = move_to_shelves(id, h, sub(codes, 12, 13))
    local fields = name .. sub(h, 17, 32) .. stamp_bytes .. is .. chained
    if reported == YES then
      write_h_and_report(id, h, fields, keys, header, ARGV[at + 7], '')
    elseif reported == WITH_CHECKPOINT then
      local report = struct.unpack('>I4c0', ARGV[at + 7])
      write_h_and_report(id, h, fields, keys, header, report, sub(ARGV[at + 7], 5 + #report))
    else
      write_h(id, h, fields, keys, header)
    end
    local entries, output = ARGV[at + 8], ARGV[at + 11]
    if entries ~= '' then
      add_to_history(id, entries)
    end
    if output ~= '' then
      keep_output(id, output)
    end
  end
  local record = wanted == YES and 'r' or NOTHING
  return done(fence, stamp, record, promoted), wanted == YES and h, next_record
end

-- Notifies the waiters. Best effort, and after the writes: a user without the
-- right to publish must not get the answer that nothing was made.
-- Seldom: made where it is called.
local function publish(channel)
  redis.pcall('PUBLISH', channel, table.concat(ended))
end
