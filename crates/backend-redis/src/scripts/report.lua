-- report: writes the report of an operation, if the lock has this fence.
--
-- KEYS  [1] the locks: hash id -> lock (prelude.lua has its layout)
--       [2] the record
-- ARGV  1 id (16)
--       2 fence (8)
--       3 the report
-- Returns 1 if it is written, 0 if the caller does not hold the lock
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or held:sub(17, 24) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'r', ARGV[3])
return 1
