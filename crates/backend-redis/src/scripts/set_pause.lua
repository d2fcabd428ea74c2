-- set_pause: sets a pause or removes it, and gives the pauses a new version.
--
-- KEYS  [1] the pauses: hash scope -> when it ends in ms (8, 0 for never) and
--           the pause; and 'v' -> the version, a number that only grows
--       [2] the number of changes
-- ARGV  1 scope (8)
--       2 its new value, or '' to remove it
-- Returns 1 if the pause was there before, else 0
local was = redis.call('HEXISTS', KEYS[1], ARGV[1])
if ARGV[2] == '' and was == 0 then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
-- The time, so that a server that has lost its last writes gives out no version
-- twice.
local time = redis.call('TIME')
local version = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('HGET', KEYS[1], 'v') or 0)
if version <= last then version = last + 1 end
redis.call('HSET', KEYS[1], 'v', ('%d'):format(version))
redis.call('INCRBY', KEYS[2], '1')
return was
