-- acquire_permit: grants a permit if the limits have room, and counts it.
--
-- KEYS  [1] the permits held: zset ms at which the lease ends -> permit
--       [2] the window (window.lua has its layout)
-- ARGV  1 permit (16), or '' to be counted without holding one
--       2 the lease, in ms
--       3 how many may be held, or 0
--       4 how many may be acquired within the window, or 0
--       5 for how many µs their holders may be busy within the window, or 0
--       6 the length of a bucket of the window, in ms, or 0 for no window
-- Returns the limit that is reached: 0 none (granted), 1 requests, 2 execution,
-- 3 concurrent; and the ms until there will be room, if that is known
local held, window, permit = KEYS[1], KEYS[2], ARGV[1]
local concurrent, most, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local width = tonumber(ARGV[6])
local now = milliseconds()

-- The ms until enough of the oldest buckets have left that `sum` is below
-- `limit`.
local function room_in(latest, what, sum, limit)
  local fields = {}
  for number = latest + 1, latest + RING do
    fields[#fields + 1] = what .. number % RING
  end
  local buckets = redis.call('HMGET', window, unpack(fields))
  for place = 1, RING do
    sum = sum - (tonumber(buckets[place]) or 0)
    if sum < limit or place == RING then
      return math.max((latest + place) * width - now, 0)
    end
  end
end

redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
if permit ~= '' and redis.call('ZSCORE', held, permit) then return {0, 0} end
local latest, requests, busy
if width > 0 then
  latest, requests, busy = slide(window, width, now)
  if most > 0 and requests >= most then
    return {1, room_in(latest, 'r', requests, most)}
  end
  if longest > 0 and busy >= longest then
    return {2, room_in(latest, 'b', busy, longest)}
  end
end
if concurrent > 0 and redis.call('ZCARD', held) >= concurrent then return {3, 0} end
if width > 0 then count(window, latest, 'r', 1) end
if permit ~= '' then
  redis.call('ZADD', held, now + tonumber(ARGV[2]), permit)
  expire(held)
end
return {0, 0}
