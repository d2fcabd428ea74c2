-- commit: makes commits of one partition, in the order given. Each by itself
-- checks everything, then writes; nothing can fail after its first write.
--
-- KEYS  prelude.lua
-- ARGV  1 the channel that hears of ends; then per commit, 8:
--       1 id (16)
--       2 the plan, 10 letters; '-' is "nothing":
--         1 guard     '-' open, t taking, h holder, w watched
--         2 lock      t take, r release, a ask its holder to stop
--         3 chain     h be its head or fail, l leave
--         4 due       s set, c clear
--         5 offer     a add, w withdraw
--         6 notify    n
--         7 remove    r
--         8 record    w: the answer is to bring it
--         9 report    w: write it
--        10 the index to be in: a letter, or '-' for none
--       3 the version that is expected (8) and the commit that wrote it (8):
--         after a loss of the last writes, versions are given out twice
--       4 the new version (8) and this commit (8)
--       5 the header
--       6 guard t: owner (16) and lease in ms (8) of the new lock
--         guard h: fence (8); guard w: fence (8), beat (8); else ''
--       7 when it is due, ms, or ''
--       8 the report, or ''
-- Returns, per commit:
--       {'D', fence, offer, record, promoted}  it is made, now or earlier
--           fence, offer: 0 where there is none
--           record: {} or {sequence, body, report or ''}
--           promoted: {} or {id, stamp, h, body, report or ''}
--       {'N'} not the head: taken out of the dispatch set, nothing else
--       {'C', h} another version: this one
--       {'F'} the lock is not the one that the guard names
--       {'M'} no such operation
local ITEM = 8
local most = 2 * (#ARGV - 1) / ITEM
local NOTHING = {}
-- A repetition comes within the patience of whoever repeats: seconds.
local GRAVE_SECONDS = 600

local TAKE, HOLDER, WATCHED = ('thw'):byte(1, 3)
local RELEASE, ASK, REQUIRE_HEAD, LEAVE = ('rahl'):byte(1, 4)
local SET, CLEAR, ADD, WITHDRAW = ('scaw'):byte(1, 4)
local NOTIFY, REMOVE, YES = ('nrw'):byte(1, 3)

local ended = {}

local function parts(id)
  return unpack(call('HMGET', RECORD .. id, 'h', 'b', 'r'))
end

-- The answer to a commit that was made before: what it did then, as far as
-- that still stands.
local function made(id, h, lock, chain, offer, wanted)
  local fence, stamp, record, promoted = 0, 0, NOTHING, NOTHING
  if lock == TAKE then
    local held = call('HGET', LOCKS, id)
    if held then fence = number(held:sub(17, 24)) end
  end
  if offer == ADD then stamp = tonumber(call('ZSCORE', DISPATCH, id) or 0) end
  if wanted == YES then
    local _, body, report = parts(id)
    record = { number(h:sub(25, 32)), body, report or '' }
  end
  if chain == LEAVE then
    local head = call('ZRANGE', CHAIN .. h:sub(42, 57), 0, 0)[1]
    local entry = head and call('ZSCORE', DISPATCH, head)
    if entry then
      local next_h, body, report = parts(head)
      promoted = { head, tonumber(entry), next_h, body, report or '' }
    end
  end
  return { 'D', fence, stamp, record, promoted }
end

local function commit(at)
  local id, plan, expected, name, header =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local guard, lock, chain, due, offer, notify, remove, wanted, reported = plan:byte(1, 9)
  local key = RECORD .. id

  -- Check.
  local h, body, report
  if wanted == YES then h, body, report = parts(id) else h = call('HGET', key, 'h') end
  if not h then
    local grave = remove == REMOVE and call('GET', GRAVE .. id)
    if grave and grave:sub(1, 8) == name:sub(9) then return { 'D', 0, 0, NOTHING, NOTHING } end
    return { 'M' }
  end
  if h:sub(9, 16) == name:sub(9) then return made(id, h, lock, chain, offer, wanted) end
  if h:sub(1, 16) ~= expected then return { 'C', h } end

  local held
  if guard == HOLDER or guard == WATCHED or lock == ASK then held = call('HGET', LOCKS, id) end
  if guard == HOLDER then
    if not held or held:sub(17, 24) ~= ARGV[at + 5] then return { 'F' } end
  elseif guard == WATCHED then
    if not held or held:sub(17, 32) ~= ARGV[at + 5] then return { 'F' } end
  end
  -- A lock needs somebody to take it.
  if lock == TAKE and guard ~= TAKE then return { 'F' } end

  local key_of_chain, head, second
  local chained = h:sub(42, 57)
  if chained ~= NO_CHAIN then
    key_of_chain = CHAIN .. chained
    if chain == REQUIRE_HEAD or chain == LEAVE or offer == ADD then
      head, second = unpack(call('ZRANGE', key_of_chain, 0, 1))
    end
  end
  if chain == REQUIRE_HEAD and key_of_chain and head ~= id then
    call('ZREM', DISPATCH, id)
    return { 'N' }
  end
  local next_h, next_body, next_report
  if chain == LEAVE and second and head == id then
    next_h, next_body, next_report = parts(second)
    if not next_h or next_h:sub(41, 41) ~= OFFERED or call('ZSCORE', DISPATCH, second) then
      next_h = nil
    end
  end

  -- Write.
  local fence, stamp, record, promoted = 0, 0, NOTHING, NOTHING
  if lock == TAKE then
    fence = tick(most)
    local taker = ARGV[at + 5]
    call('HSET', LOCKS, id, taker:sub(1, 16) .. pack(fence) .. pack(0) .. taker:sub(17) .. '0')
  elseif lock == RELEASE then
    call('HDEL', LOCKS, id)
  elseif lock == ASK and held then
    call('HSET', LOCKS, id, held:sub(1, 40) .. '1')
  end

  if due == SET then
    call('ZADD', DUE, ARGV[at + 6], id)
  elseif due == CLEAR then
    call('ZREM', DUE, id)
  end

  local offer_bytes = h:sub(33, 40)
  if offer == ADD and (not key_of_chain or head == id) then
    stamp = stamp_after(offer_bytes, most)
    offer_bytes = pack(stamp)
    call('ZADD', DISPATCH, decimal(stamp), id)
  elseif offer == WITHDRAW then
    call('ZREM', DISPATCH, id)
  end

  if chain == LEAVE and key_of_chain then
    call('ZREM', key_of_chain, id)
    if next_h then
      local next_stamp = stamp_after(next_h:sub(33, 40), most)
      next_h = put_on_offer(second, next_h, next_stamp)
      call('HSET', RECORD .. second, 'h', next_h)
      promoted = { second, next_stamp, next_h, next_body, next_report or '' }
    end
  end

  if notify == NOTIFY then ended[#ended + 1] = id end

  local was, is = h:sub(41, 41), plan:sub(10, 10)
  if remove == REMOVE then
    call('DEL', key)
    if was ~= NOWHERE then call('ZREM', INDEX .. was, id) end
    call('ZREM', DUE, id)
    call('ZREM', DISPATCH, id)
    call('HDEL', LOCKS, id)
    call('SET', GRAVE .. id, name:sub(9) .. h:sub(17, 32), 'EX', GRAVE_SECONDS)
  else
    if was ~= is then
      if was ~= NOWHERE then call('ZREM', INDEX .. was, id) end
      if is ~= NOWHERE then call('ZADD', INDEX .. is, '0', id) end
    end
    local new_h = name .. h:sub(17, 32) .. offer_bytes .. is .. chained .. header
    if reported == YES then
      report = ARGV[at + 7]
      call('HSET', key, 'h', new_h, 'r', report)
    else
      call('HSET', key, 'h', new_h)
    end
  end
  if wanted == YES then record = { number(h:sub(25, 32)), body, report or '' } end
  return { 'D', fence, stamp, record, promoted }
end

local answers = {}
for at = 2, #ARGV, ITEM do answers[#answers + 1] = commit(at) end
-- Best effort, and after the writes: a user without the right to publish must
-- not be told that nothing was made.
if #ended > 0 then redis.pcall('PUBLISH', ARGV[1], table.concat(ended)) end
return answers
