-- reserve: reserves an idempotency key, unless it is reserved.
--
-- KEYS  [1] the reservation
-- ARGV  1 the reservation's content
--       2 for how long, in ms
-- Returns the content of the reservation that holds
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
