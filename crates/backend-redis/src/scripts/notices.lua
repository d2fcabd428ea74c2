-- notices: the notices whose time has come, by the server's clock, earliest
-- first. Reads only.
--
-- KEYS  [1] the notices: zset 256 * ms + how often it was tried -> id
-- ARGV  1 how many at most
-- Returns the ids, and how often each was tried (16 + 1 bytes each)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = ('(%d'):format((now + 1) * 256)
local owed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'WITHSCORES', 'LIMIT', '0', ARGV[1])
local found = {}
for at = 1, #owed, 2 do
  found[#found + 1] = owed[at] .. string.char(tonumber(owed[at + 1]) % 256)
end
return table.concat(found)
