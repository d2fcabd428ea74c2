-- settle_queue: forgets the use of a queue, or notes it again, if it is old.
--
-- KEYS  as of use_queue
-- ARGV  1 the use: hash of the organization (8) + queue
--       2 the time at or before which it was last noted, ms
--       3 'f': forget it; 'k': it is in use
-- Returns 1 if it was old
local use = ARGV[1]
local used = redis.call('ZSCORE', KEYS[1], use)
if not used or tonumber(used) > tonumber(ARGV[2]) then return 0 end
if ARGV[3] == 'k' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', KEYS[1], ('%.0f'):format(now), use)
  return 1
end
redis.call('ZREM', KEYS[2], 'o' .. use, 'q' .. use:sub(9) .. '\0' .. use:sub(1, 8))
redis.call('ZREM', KEYS[1], use)
return 1
