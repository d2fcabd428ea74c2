-- release_permit: releases a permit, and counts for how long its holder was
-- busy.
--
-- KEYS  [1] the permits held: zset ms at which the lease ends -> permit
--       [2] the window (window.lua has its layout)
-- ARGV  1 permit (16)
--       2 for how many µs its holder was busy
--       3 the length of a bucket of the window, in ms, or 0 for no window
-- Returns 1 if it is released, 0 if it was not held any more and is not counted
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local width = tonumber(ARGV[3])
if width > 0 then
  local latest = slide(KEYS[2], width, milliseconds())
  count(KEYS[2], latest, 'b', ARGV[2])
end
return 1
