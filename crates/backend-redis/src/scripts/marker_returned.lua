-- marker_returned: notes that a marker has come back; the latest counts.
--
-- KEYS  [1] the markers: hash route -> stamp
-- ARGV  1 route
--       2 stamp, decimal
-- Returns 1 if it is the latest, else 0
local latest = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if tonumber(ARGV[2]) <= latest then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
