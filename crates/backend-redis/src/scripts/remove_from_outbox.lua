-- remove_from_outbox: takes entries out of the outbox that the broker has
-- confirmed. An entry with another stamp is another entry, and stays.
--
-- KEYS  [1] the outbox: zset stamp -> id
-- ARGV  per entry, 2: id (16), stamp in decimal. At most 1,000 entries.
-- Returns how many were taken out
local ids, stamps = {}, {}
for at = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[at]
  stamps[#stamps + 1] = tonumber(ARGV[at + 1])
end
local confirmed = {}
for at, score in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(ids))) do
  if score and tonumber(score) == stamps[at] then confirmed[#confirmed + 1] = ids[at] end
end
if #confirmed == 0 then return 0 end
return redis.call('ZREM', KEYS[1], unpack(confirmed))
