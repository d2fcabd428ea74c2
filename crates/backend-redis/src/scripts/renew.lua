-- renew: moves the beat of locks of one partition that are still held.
--
-- KEYS  [1] the locks: hash id -> lock (prelude.lua has its layout)
-- ARGV  per lock, 2: id (16), fence (8). At most 1,000 locks.
-- Returns one letter per lock: h held, s held and asked to stop, l lost
local ids = {}
for at = 1, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
local answers, moved = {}, {}
for at, held in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
  if held and held:sub(17, 24) == ARGV[2 * at] then
    local beat = struct.unpack('>I8', held:sub(25, 32)) + 1
    moved[#moved + 1] = ids[at]
    moved[#moved + 1] = held:sub(1, 24) .. struct.pack('>I8', beat) .. held:sub(33)
    answers[at] = held:sub(41, 41) == '1' and 's' or 'h'
  else
    answers[at] = 'l'
  end
end
if #moved > 0 then
  -- A full server refuses a script whose first write may need room; this write
  -- needs none, and changes nothing. A beat needs no room either.
  redis.call('HDEL', KEYS[1], '')
  redis.call('HSET', KEYS[1], unpack(moved))
end
return table.concat(answers)
