-- reserve: reserves idempotency keys, in the order given, each unless it is
-- reserved.
--
-- KEYS  the keys of the reservations, which may be of several slots: a Redis
--       Cluster would refuse that
-- ARGV  per key, 2: the reservation's content (prelude.lua); for how many ms
-- Returns the contents of the reservations that hold, in a row
local answers = {}
for at, key in ipairs(KEYS) do
  local content = ARGV[2 * at - 1]
  local held = redis.call('GET', key)
  if not held then redis.call('SET', key, content, 'PX', ARGV[2 * at]) end
  answers[at] = held or content
end
return table.concat(answers)
