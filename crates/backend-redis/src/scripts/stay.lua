-- stay: renews the lease of a visitor that is inside.
--
-- KEYS  [1] the visitors inside: zset ms at which the lease ends -> visitor
-- ARGV  1 visitor (16)
--       2 the lease, in ms
-- Returns 1 if it is inside, 0 if it is not any more
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], milliseconds() + tonumber(ARGV[2]), ARGV[1])
expire(KEYS[1])
return 1
