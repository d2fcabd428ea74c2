-- ended_since: the operations of some partitions that have ended after a stamp,
-- in all classes, as far as the caller asks. Reads only.
--
-- KEYS  per partition, 2: the tick; prefix of the ends,
--       which are sets of stamp (8) + id (lib_buckets.lua)
-- ARGV  1 the first stamp (8)
--       2 how many ends of each class of each partition
-- Returns the server's time in microseconds (8), then per partition: its tick
--         (8); the stamp beyond which an end may have been left out (8), or the
--         highest; its ends (8 + 16 bytes each), with their length (4) before
--         them, in no order
local from, most = '[' .. ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local answers = { struct.pack('>I8', time[1] * 1000000 + time[2]) }
for at = 1, #KEYS, 2 do
  local tick = tonumber(redis.call('GET', KEYS[at]) or 0)
  local frontier, found = math.huge, {}
  for letter in ('sut'):gmatch('.') do
    local ends = set_range(KEYS[at + 1] .. letter, from, '+', most)
    if #ends == most then frontier = math.min(frontier, (struct.unpack('>I8', ends[most]))) end
    found[#found + 1] = table.concat(ends)
  end
  local ends = table.concat(found)
  local cut = frontier == math.huge and ('\255'):rep(8) or struct.pack('>I8', frontier)
  answers[#answers + 1] = struct.pack('>I8', tick) .. cut .. struct.pack('>I4c0', #ends, ends)
end
return table.concat(answers)
