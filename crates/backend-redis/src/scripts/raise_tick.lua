-- raise_tick: moves the ticks of some partitions up to a stamp, so that none of
-- them can put an end at or before it later, whatever its clock does.
--
-- KEYS  per partition, 2: the tick; prefix of the ends,
--       which are sets of stamp (8) + id (lib_buckets.lua)
-- ARGV  1 the stamp, decimal
--       2 the stamp after it (8)
--       then per partition: the stamp after the tick that the caller has seen (8)
-- Returns the ends between the tick that the caller has seen and the stamp
--         (8 + 16 bytes each), in no order: they came since
local floor = tonumber(ARGV[1])
local found = {}
for at = 1, #KEYS, 2 do
  local from = ARGV[2 + (at + 1) / 2]
  local tick = tonumber(redis.call('GET', KEYS[at]) or 0)
  if tick < floor then redis.call('SET', KEYS[at], ARGV[1]) end
  if tick >= (struct.unpack('>I8', from)) then
    for letter in ('sut'):gmatch('.') do
      found[#found + 1] =
        table.concat(set_range(KEYS[at + 1] .. letter, '[' .. from, '(' .. ARGV[2], 1000000))
    end
  end
end
return table.concat(found)
