-- due: operations whose time has come, by the server's clock, earliest first.
-- Reads only.
--
-- KEYS  [1] the due set: zset ms -> id
-- ARGV  1 how many at most
-- Returns {the server's time in microseconds, the ids (16 bytes each)}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', math.floor(now / 1000), 'LIMIT', '0', ARGV[1])
return { now, table.concat(ids) }
