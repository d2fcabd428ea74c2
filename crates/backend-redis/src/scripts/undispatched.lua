-- undispatched: entries of the dispatch set that nobody has published for a
-- while, oldest first, with their records. Reads only.
--
-- KEYS  [1] the dispatch set: zset stamp -> id
--       [2] prefix of the records
-- ARGV  1 how old they are at least, in microseconds
--       2 how many at most
-- Returns a list of {id, stamp, h, body, report or ''}
local time = redis.call('TIME')
local newest = time[1] * 1000000 + time[2] - tonumber(ARGV[1])
local entries =
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', newest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local found = {}
for at = 1, #entries, 2 do
  local id = entries[at]
  local h, body, report = unpack(redis.call('HMGET', KEYS[2] .. id, 'h', 'b', 'r'))
  if h then found[#found + 1] = { id, tonumber(entries[at + 1]), h, body, report or '' } end
end
return found
