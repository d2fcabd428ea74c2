-- outbox_entries: entries of the outbox that were not published for a
-- while, oldest first, with their records. Reads only.
--
-- KEYS  [1] the outbox: zset stamp -> id
--       [2] prefix of the records
--       [3] the tick
-- ARGV  1 how old they are at least, in microseconds
--       2 how many at most; fewer if they are large: an answer that takes
--         longer than the response timeout would never arrive
--       3 the stamp that they are above: '(' + stamp, or '-inf' for all
-- Returns a list of: id (16), stamp (8), then h, body, report or '', each with
--          its length (4) before it
local MOST_BYTES = 8 * 1024 * 1024
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = now - tonumber(ARGV[1])
-- A tick in the future shows that the clock was set back. Stamps tell no age
-- then; all entries too early is better than one entry not for hours.
local tick = tonumber(redis.call('GET', KEYS[3]) or 0)
if tick > now + 1000000 then newest = '+inf' end
local entries =
  redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], newest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local found, bytes = {}, 0
for at = 1, #entries, 2 do
  local id = entries[at]
  local h, body, report = unpack(redis.call('HMGET', KEYS[2] .. id, 'h', 'b', 'r'))
  if h then
    report = report or ''
    found[#found + 1] = id
      .. struct.pack('>I8I4c0I4c0I4c0', tonumber(entries[at + 1]), #h, h, #body, body, #report, report)
    bytes = bytes + #h + #body + #report
    if bytes > MOST_BYTES then break end
  end
end
return found
