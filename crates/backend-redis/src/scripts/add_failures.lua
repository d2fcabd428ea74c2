-- add_failures: adds failures to their groups. The groups of an organization are
-- bounded; the one whose last failure is the oldest goes.
--
-- KEYS  [1] the calls that were added: set of names; expires
--       [2] the prefix of the groups of all organizations, in the same slot. Behind
--           it the organization (8) and
--             :groups  hash key (8) -> group
--             :last    zset ms of the last failure -> key
--             :mutes   hash key -> mute; expires
--             :hour:N  hash key -> failures in an hour; expires
-- ARGV  1 the name of this call (9)
--       2 how many groups an organization may have
--       3 the seconds for which the names of calls are kept, 4 the groups of an
--       organization after its last failure
--       5 the hour of the failures, since 1970, 6 the seconds for which its counts are kept
--       then for each group: organization (8), key (8), and the group as it is kept:
--       first failure in ms (8), last failure in ms (8), count (8), the operation that
--       failed last (16), texts
-- Returns 1 if this was added, 0 if it was added before
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[3])
local limit = tonumber(ARGV[2])
for at = 7, #ARGV, 3 do
  local prefix, key, group = KEYS[2] .. ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local groups, by_last, hour = prefix .. ':groups', prefix .. ':last', prefix .. ':hour:' .. ARGV[5]
  local first, last, count = struct.unpack('>I8I8I8', group)
  if redis.call('HLEN', hour) < limit or redis.call('HEXISTS', hour, key) == 1 then
    redis.call('HINCRBY', hour, key, ('%d'):format(count))
    redis.call('EXPIRE', hour, ARGV[6])
  end
  local before = redis.call('HGET', groups, key)
  if before then
    local first_before, last_before, count_before = struct.unpack('>I8I8I8', before)
    first = math.min(first, first_before)
    count = count + count_before
    if last_before > last then
      last = last_before
      group = before
    end
    group = struct.pack('>I8I8I8', first, last, count) .. group:sub(25)
  end
  redis.call('HSET', groups, key, group)
  redis.call('ZADD', by_last, ('%d'):format(last), key)
  if redis.call('ZCARD', by_last) > limit then
    local oldest = redis.call('ZRANGE', by_last, 0, 0)[1]
    redis.call('HDEL', groups, oldest)
    redis.call('HDEL', prefix .. ':mutes', oldest)
    redis.call('ZREM', by_last, oldest)
  end
  redis.call('EXPIRE', groups, ARGV[4])
  redis.call('EXPIRE', by_last, ARGV[4])
end
return 1
