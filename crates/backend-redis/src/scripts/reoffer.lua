-- reoffer: puts an operation into the outbox again, if it was not offered
-- since the caller looked, and no pause holds it. A repetition answers 0: the
-- entry is there, and the relay publishes it.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  1 id (16)
--       2 the stamp of its last offer, as it was seen (8)
--       3 microseconds for which the relay is to leave it alone
-- Returns the new stamp, or 0
local id = ARGV[1]
local h = read_front(id)
-- If a pause holds it, its scope is in the place of the stamp.
if not h or h:sub(41, 41) ~= OFFERED or h:sub(33, 40) ~= ARGV[2] then return 0 end
local chain = h:sub(42, 57)
if chain ~= NO_CHAIN and call('ZRANGE', prefix .. CHAIN .. chain, '0', '0')[1] ~= id then return 0 end

local stamp = stamp_after(ARGV[2]) + tonumber(ARGV[3])
remove_offer(id, h)
put_on_offer(id, h, stamp)
write_gathered()
call('INCRBY', KEYS[#KEYS], '1')
return stamp
