-- add_rollup: adds the counts of one process in one minute to those of the store.
--
-- KEYS  [1] the calls that were added: set of names; expires
--       [2] the names of the day: hash key (8) -> name; expires
--       [3] the slot of the minute: hash key (8) -> counts; expires
--       [4] the slot of ten minutes, likewise
-- ARGV  1 the name of this call (9)
--       2 the key for what finds no room (8)
--       3 how many keys with names a day may have
--       4 the seconds for which the names of calls are kept, 5 the names, 6 the slots of
--       a minute, 7 those of ten minutes
--       then for each key: key (8), its name or '' for one that needs no room,
--       counts
-- Returns 1 if this was added, 0 if it was added before
--
-- Counts are pairs of a place (1 byte) and a number that is not 0 (7 bits a byte, the
-- lowest first, the first bit set in all bytes but the last); places ascend.
-- store/rollups.rs has the same.
local seen, names = KEYS[1], KEYS[2]
if redis.call('SADD', seen, ARGV[1]) == 0 then return 0 end
redis.call('EXPIRE', seen, ARGV[4])
local others, limit = ARGV[2], tonumber(ARGV[3])
local byte, char, floor = string.byte, string.char, math.floor

-- The number at a place of bytes, and the place behind it.
local function read(bytes, at)
  local number, scale, part = 0, 1, nil
  repeat
    part = bytes[at]
    number = number + part % 128 * scale
    scale = scale * 128
    at = at + 1
  until part < 128
  return number, at
end

-- The sums of packed counts. Places ascend in both, so one pass merges them.
local function sums(one, other)
  local ours, theirs = {byte(one, 1, -1)}, {byte(other, 1, -1)}
  local sum, size, at, to = {}, 0, 1, 1
  while ours[at] or theirs[to] do
    local place, their_place = ours[at] or 256, theirs[to] or 256
    local number, more = 0, 0
    if place <= their_place then
      number, at = read(ours, at + 1)
    end
    if their_place <= place then
      place = their_place
      more, to = read(theirs, to + 1)
    end
    number = number + more
    size = size + 1
    sum[size] = place
    while number >= 128 do
      size = size + 1
      sum[size] = number % 128 + 128
      number = floor(number / 128)
    end
    size = size + 1
    sum[size] = number
  end
  return char(unpack(sum))
end

local function add_to(slot, key, counts)
  local before = redis.call('HGET', slot, key)
  redis.call('HSET', slot, key, before and sums(before, counts) or counts)
end

for at = 8, #ARGV, 3 do
  local key, name, counts = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if name ~= '' and redis.call('HEXISTS', names, key) == 0 then
    if redis.call('HLEN', names) < limit then
      redis.call('HSET', names, key, name)
    else
      key = others
    end
  end
  add_to(KEYS[3], key, counts)
  add_to(KEYS[4], key, counts)
end
redis.call('EXPIRE', names, ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('EXPIRE', KEYS[4], ARGV[7])
return 1
