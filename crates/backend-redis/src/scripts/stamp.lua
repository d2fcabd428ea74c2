-- stamp: a fresh stamp of a partition, for a marker. The prelude's tick(),
-- alone.
--
-- KEYS  [1] the tick
-- ARGV  none
-- Returns the stamp: microseconds, or the last one + 1
local time = redis.call('TIME')
local stamp = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
if stamp <= last then stamp = last + 1 end
redis.call('SET', KEYS[1], stamp)
return stamp
