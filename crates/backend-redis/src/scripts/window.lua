-- window: the counts of permits within a sliding window, in a ring of buckets:
-- one that is being filled, and as many full ones as make up the window. Part
-- of acquire_permit.lua and release_permit.lua.
--
-- A hash: 'at' the number of the latest bucket since 1970; 'r' how many
-- were acquired, 'b' for how many µs their holders were busy, all buckets together; 'r<p>' and
-- 'b<p>' the same of the bucket at place p = number % RING.
local RING = 31

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Drops the buckets that have left the window.
-- Returns the latest bucket; how many were acquired; for how long their holders
-- were busy
local function slide(window, width, now)
  local latest = math.floor(now / width)
  local held = redis.call('HMGET', window, 'at', 'r', 'b')
  local at, requests, busy = tonumber(held[1]), tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if not at or math.abs(latest - at) >= RING then
    -- After a pause, or when the clock was set: no bucket is in the window.
    redis.call('DEL', window)
    redis.call('HSET', window, 'at', latest)
    requests, busy = 0, 0
  elseif latest > at then
    local fields = {}
    for number = at + 1, latest do
      fields[#fields + 1] = 'r' .. number % RING
      fields[#fields + 1] = 'b' .. number % RING
    end
    local gone = redis.call('HMGET', window, unpack(fields))
    for place = 1, #gone, 2 do
      requests = requests - (tonumber(gone[place]) or 0)
      busy = busy - (tonumber(gone[place + 1]) or 0)
    end
    redis.call('HDEL', window, unpack(fields))
    redis.call('HSET', window, 'at', latest, 'r', requests, 'b', busy)
  else
    -- When the clock was set back a little, the latest bucket is filled
    -- further.
    latest = at
  end
  redis.call('PEXPIRE', window, width * (RING + 1))
  return latest, requests, busy
end

-- Counts into the latest bucket; `what` is 'r' or 'b'.
local function count(window, latest, what, amount)
  redis.call('HINCRBY', window, what, amount)
  redis.call('HINCRBY', window, what .. latest % RING, amount)
end

-- Lets the permits expire when the last lease has ended.
local function expire(held)
  local last = redis.call('ZRANGE', held, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', held, last[2])
end
