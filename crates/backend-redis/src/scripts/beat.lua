-- beat: notes that a member is alive; removes members that have been silent for
-- too long.
--
-- KEYS  [1] the members: hash id -> the member's report
--       [2] their last beats: zset ms -> id
-- ARGV  1 the ms of silence after which a member is removed
--       2 id, or '' to read only
--       3 the member's report, or ''
-- Returns the reports of the live members
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local silent_since = now - tonumber(ARGV[1])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[2], now, ARGV[2])
  local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', silent_since, 'LIMIT', 0, 100)
  if #silent > 0 then
    redis.call('ZREM', KEYS[2], unpack(silent))
    redis.call('HDEL', KEYS[1], unpack(silent))
  end
end
-- A beat from the future was made before the clock was set back.
local latest = now + tonumber(ARGV[1])
local alive = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. silent_since, latest, 'LIMIT', 0, 1000)
if #alive == 0 then return {} end
return redis.call('HMGET', KEYS[1], unpack(alive))
