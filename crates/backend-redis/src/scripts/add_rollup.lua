-- add_rollup: adds the counts of one process in one minute to those of the store.
--
-- KEYS  [1] the batches that were added: set of ids; expires
--       [2] the names of the day: hash key (8) -> name; expires
--       [3] the slot of the minute: hash key (8) -> counts; expires
--       [4] the slot of ten minutes, likewise
-- ARGV  1 the id of the batch (8)
--       2 the key for what finds no room (8)
--       3 how many keys with names a day may have
--       4 the seconds for which the batches are kept, 5 the names, 6 the slots of
--       a minute, 7 those of ten minutes
--       then for each key: key (8), its name or '' for one that needs no room,
--       counts
-- Returns 1 if the batch was added, 0 if it was added before
--
-- Counts are pairs of a place (1 byte) and a number that is not 0 (7 bits a byte, the
-- lowest first, the first bit set in all bytes but the last). store/rollups.rs has the
-- same.
local seen, names = KEYS[1], KEYS[2]
if redis.call('SADD', seen, ARGV[1]) == 0 then return 0 end
redis.call('EXPIRE', seen, ARGV[4])
local others, limit = ARGV[2], tonumber(ARGV[3])
local byte, char, floor = string.byte, string.char, math.floor

-- Adds packed counts to numbers by place.
local function add(numbers, counts)
  local at, size = 1, #counts
  while at < size do
    local place, number, scale, part = byte(counts, at), 0, 1, nil
    repeat
      at = at + 1
      part = byte(counts, at)
      number = number + part % 128 * scale
      scale = scale * 128
    until part < 128
    numbers[place] = (numbers[place] or 0) + number
    at = at + 1
  end
end

local function pack(numbers)
  local places, bytes = {}, {}
  for place in pairs(numbers) do places[#places + 1] = place end
  table.sort(places)
  for _, place in ipairs(places) do
    local number = numbers[place]
    bytes[#bytes + 1] = char(place)
    while number >= 128 do
      bytes[#bytes + 1] = char(number % 128 + 128)
      number = floor(number / 128)
    end
    bytes[#bytes + 1] = char(number)
  end
  return table.concat(bytes)
end

local function add_to(slot, key, counts)
  local before = redis.call('HGET', slot, key)
  if before then
    local numbers = {}
    add(numbers, before)
    add(numbers, counts)
    counts = pack(numbers)
  end
  redis.call('HSET', slot, key, counts)
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
