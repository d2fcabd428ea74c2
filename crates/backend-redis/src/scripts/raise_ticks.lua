-- raise_ticks: moves the ticks of some partitions up to a number, so that no number
-- is issued again that an earlier server of the store may have issued.
--
-- KEYS  [1] the probe; then the ticks
-- ARGV  1 the number, decimal
-- Returns how many ticks were moved
local floor = tonumber(ARGV[1])
local time = redis.call('TIME')
-- The time of this server is the next number then.
if time[1] * 1000000 + time[2] > floor then return 0 end
-- A full server refuses a script whose first write may need room. This one never does.
redis.call('DEL', KEYS[1])
local moved = 0
for at = 2, #KEYS do
  if tonumber(redis.call('GET', KEYS[at]) or 0) < floor then
    redis.call('SET', KEYS[at], ARGV[1])
    moved = moved + 1
  end
end
return moved
