-- remove_actions: removes actions on many that have ended and are old.
--
-- KEYS  as of put_action
-- ARGV  1 the time before which they were started, in ms (6 bytes): ids begin with
--         their time
--       2 the most that are looked at, oldest first
-- Returns the number removed
local removed = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, ARGV[2] - 1)) do
  if member:sub(1, 6) >= ARGV[1] then break end
  if not redis.call('ZSCORE', KEYS[3], member) then
    redis.call('HDEL', KEYS[1], member:sub(1, 16))
    redis.call('ZREM', KEYS[2], member)
    removed = removed + 1
  end
end
return removed
