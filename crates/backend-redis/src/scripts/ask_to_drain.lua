-- ask_to_drain: notes that a live member is to take nothing new. It hears of that with
-- its next beat.
--
-- KEYS  1 the reports of the members: hash id -> report
--       2 the requests: hash id -> the ms of the request
-- ARGV  1 id (16)
--       2 the seconds for which the requests are kept
-- Returns 1, or 0 if no live member has this id
local call = redis.call
if call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local time = call('TIME')
call('HSET', KEYS[2], ARGV[1], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
call('EXPIRE', KEYS[2], ARGV[2])
return 1
