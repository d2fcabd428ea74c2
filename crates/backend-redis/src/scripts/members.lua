-- members: a page of the reports of the live members.
--
-- KEYS  the first four of lib_members.lua
-- ARGV  1 the ms of silence after which a member is not alive
--       2 the version after which the page begins; 0 for the first page
--       3 the most members in the page
-- Returns the version after which the next page begins, or '' if there is none;
-- and per member: id, digest of the profile (8) + the rest of the report, number
-- of running operations
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local timeout, most = tonumber(ARGV[1]), tonumber(ARGV[3])
local entries = call('ZRANGEBYSCORE', KEYS[4], '(' .. ARGV[2], '+inf', 'LIMIT', 0, most)
local answer = { '' }
if #entries >= most then answer[1] = call('ZSCORE', KEYS[4], entries[#entries]) end
for _, entry in ipairs(entries) do
  local id = entry:sub(1, 16)
  local beat = tonumber(call('ZSCORE', KEYS[1], id) or 0)
  -- A beat from the future was made before the clock was set back.
  if beat > now - timeout and beat <= now + timeout then
    local report = call('HGET', KEYS[2], id)
    if report then
      answer[#answer + 1] = id
      answer[#answer + 1] = report
      answer[#answer + 1] = call('HGET', KEYS[3], id) or '0'
    end
  end
end
return answer
