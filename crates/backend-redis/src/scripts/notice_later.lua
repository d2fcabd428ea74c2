-- notice_later: a notice did not arrive, or was not tried, and comes again
-- later, if it is still owed.
--
-- KEYS  [1] the notices: zset 256 * ms + how often it was tried -> id
-- ARGV  1 id (16)
--       2 after how many ms
--       3 1 if it was tried, else 0
-- Returns 1 if it is owed, else 0
local MOST = 255
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
local tried = math.min(tonumber(score) % 256 + tonumber(ARGV[3]), MOST)
redis.call('ZADD', KEYS[1], ('%d'):format(at * 256 + tried), ARGV[1])
return 1
