-- lift_ended_pauses: removes the pauses whose time is over, by the server's
-- clock.
--
-- KEYS  [1] the pauses: set_pause.lua has their layout
-- Returns how many were removed
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all, ended = redis.call('HGETALL', KEYS[1]), {}
local last = 0
for at = 1, #all, 2 do
  if all[at] == 'v' then
    last = tonumber(all[at + 1])
  else
    local ends = struct.unpack('>I8', all[at + 1])
    if ends > 0 and ends <= now then ended[#ended + 1] = all[at] end
  end
end
if #ended == 0 then return 0 end
redis.call('HDEL', KEYS[1], unpack(ended))
local version = time[1] * 1000000 + time[2]
if version <= last then version = last + 1 end
redis.call('HSET', KEYS[1], 'v', ('%d'):format(version))
return #ended
