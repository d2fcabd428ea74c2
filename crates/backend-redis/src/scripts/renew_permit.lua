-- renew_permit: renews the lease of a permit that is held.
--
-- KEYS  [1] the permits held: zset ms at which the lease ends -> permit
-- ARGV  1 permit (16)
--       2 the lease, in ms
-- Returns 1 if it is held, 0 if it is not any more
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], milliseconds() + tonumber(ARGV[2]), ARGV[1])
expire(KEYS[1])
return 1
