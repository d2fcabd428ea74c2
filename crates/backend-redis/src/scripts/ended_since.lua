-- ended_since: the operations that have ended after a stamp, over all
-- partitions and classes, in the order of the ends.
--
-- The answer goes up to its last end, and every partition's tick is moved up to
-- that end: no partition can put an end before it later, whatever its clock
-- does. If nothing has ended, the answer goes up to the requested stamp. The
-- clock ensures this, and nothing is written, unless the clock was set back.
-- Then that stamp may lie in the future, being one partition's tick, and the
-- ticks of the other partitions are moved up to it. They never move beyond the
-- largest tick: a stamp that a caller made up moves nothing.
--
-- The partitions are of several slots. A Redis Cluster would refuse that.
--
-- KEYS  per partition, 2: the tick; prefix of the ends,
--       which are sets of stamp (8) + id (lib_buckets.lua)
-- ARGV  1 the stamp (8): ends after it
--       2 how many at most; a few more if several have the same stamp
-- Returns the stamps and ids (8 + 16 bytes each), earliest first
local asked, limit = struct.unpack('>I8', ARGV[1]), tonumber(ARGV[2])
-- The stamp behind it, of whichever operation.
local after = '[' .. struct.pack('>I8', asked + 1)
-- The most ends of each class of each partition: they share the ends about
-- evenly, and a server must not sort hundreds of thousands of them.
local of_each = math.max(8, math.ceil(limit / 8))

local found = {}
-- The stamp beyond which an end may have been left out.
local frontier = math.huge
for at = 2, #KEYS, 2 do
  for letter in ('sut'):gmatch('.') do
    local ends = set_range(KEYS[at] .. letter, after, '+', of_each)
    local stamp
    for place = 1, #ends do
      stamp = struct.unpack('>I8', ends[place])
      found[#found + 1] = { stamp, ends[place] }
    end
    if #ends == of_each then frontier = math.min(frontier, stamp) end
  end
end
table.sort(found, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)

local answer, until_stamp = {}, 0
for place, entry in ipairs(found) do
  local stamp = entry[1]
  -- Ends with the same stamp as the last one come with it.
  if stamp > frontier or (place > limit and stamp ~= until_stamp) then break end
  until_stamp = stamp
  answer[place] = entry[2]
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if #found == 0 and asked < now then return '' end
local ticks, highest = {}, 0
for at = 1, #KEYS, 2 do
  ticks[at] = tonumber(redis.call('GET', KEYS[at]) or 0)
  highest = math.max(highest, ticks[at])
end
local floor = until_stamp
if asked >= now and asked <= highest then floor = math.max(floor, asked) end
for at, tick in pairs(ticks) do
  if tick < floor then redis.call('SET', KEYS[at], ('%d'):format(floor)) end
end
return table.concat(answer)
