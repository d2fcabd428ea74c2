-- renew: moves the beat of locks that are still held. One call renews all locks of
-- a worker, of any partitions.
--
-- KEYS  one for each partition: the prefix of all its keys. Its locks are a hash
--       id -> lock (prelude.lua has the layout)
-- ARGV  per lock, 3: the partition's place in KEYS, id (16), owner
--       (16) and fence (8). The locks of
--       one partition stand together. At most 500 locks.
-- Returns one letter per lock: h held, s held and asked to stop, l lost
local call = redis.call
local ITEM = 3
local answers, has_written = {}, false

local function renew(from, to)
  local key, ids, moved = KEYS[tonumber(ARGV[from])] .. 'locks', {}, {}
  for at = from, to, ITEM do ids[#ids + 1] = ARGV[at + 1] end
  for at, held in ipairs(call('HMGET', key, unpack(ids))) do
    if held and held:sub(1, 24) == ARGV[from + (at - 1) * ITEM + 2] then
      local beat = struct.unpack('>I8', held:sub(25, 32)) + 1
      moved[#moved + 1] = ids[at]
      moved[#moved + 1] = held:sub(1, 24) .. struct.pack('>I8', beat) .. held:sub(33)
      answers[#answers + 1] = held:sub(41, 41) == '1' and 's' or 'h'
    else
      answers[#answers + 1] = 'l'
    end
  end
  if #moved == 0 then return end
  if not has_written then
    -- A full server refuses a script whose first write may need room; this write
    -- needs none, and changes nothing. A beat needs no room either.
    call('HDEL', key, '')
    has_written = true
  end
  call('HSET', key, unpack(moved))
end

local from = 1
for at = 1, #ARGV, ITEM do
  if ARGV[at + ITEM] ~= ARGV[from] then
    renew(from, at)
    from = at + ITEM
  end
end
return table.concat(answers)
