-- put_action: writes an action on many, if the store has the revision before it.
--
-- KEYS  [1] the actions: hash id (16) -> revision (8) and record
--       [2] all of them: sorted set of id and hash of the organization (24)
--       [3] those that have not ended: sorted set of the same, revision -> member
-- ARGV  1 id and hash of the organization (24)
--       2 the revision before (8); zeros for a new action
--       3 the new revision (8) and record
--       4 the new revision as a number if it has not ended, else '-'
--       5 the most actions that are kept
-- Returns 1 if it is written, 0 if the store has another revision, 2 if there is no
--         room for a new one
local id = ARGV[1]:sub(1, 16)
local was = redis.call('HGET', KEYS[1], id)
if was == ARGV[3] then return 1 end
local revision = was and was:sub(1, 8) or ('\0'):rep(8)
if revision ~= ARGV[2] then return 0 end
if not was and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then
  local found
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if not redis.call('ZSCORE', KEYS[3], member) then
      found = member
      break
    end
  end
  if not found then return 2 end
  redis.call('HDEL', KEYS[1], found:sub(1, 16))
  redis.call('ZREM', KEYS[2], found)
end
redis.call('HSET', KEYS[1], id, ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[4] == '-' then
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
end
return 1
