-- idle_queues: uses of queues that are old, longest ago first.
--
-- KEYS  as of use_queue
-- ARGV  1 the time at or before which they were last noted, ms
--       2 the most in the answer
-- Returns, for each, the use and the number of organizations that use its queue
local found = {}
local idle = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, use in ipairs(idle) do
  local users = 'q' .. use:sub(9)
  found[#found + 1] = use
  found[#found + 1] = redis.call('ZLEXCOUNT', KEYS[2], '[' .. users .. '\0', '(' .. users .. '\1')
end
return found
