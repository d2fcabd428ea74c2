-- The part of beat.lua that changes the roster, and returns its changes.

if is_new then
  if report then drop_entry(id, report) end
  local digest = ARGV[6]:sub(1, DIGEST)
  call('HSET', REPORTS, id, ARGV[6])
  take_profile(digest, ARGV[8])
  call('ZADD', ROSTER, next_version(), id .. digest)
  call('ZREM', LEFT, id)
end
for _, one in ipairs(silent) do remove(one) end
-- A beat from the future was made before the clock was set back. It counts as a
-- beat of now: its member may be alive.
for _, one in ipairs(early) do call('ZADD', BEATS, decimal(now), one) end

version = call('GET', VERSION) or '0'
local answer = { version, decimal(now_us), asked }
if version == ARGV[2] then return answer end

local from, left_since, left = ARGV[2], ARGV[3], {}
local oldest = call('ZRANGE', LEFT, 0, 0, 'WITHSCORES')[2]
local is_full = oldest and call('ZCARD', LEFT) >= MOST_LEFT
-- The store has lost its last writes, or more members have left than it lists.
local is_lost = tonumber(from) > tonumber(version)
  or (is_full and left_since ~= '0' and tonumber(left_since) < tonumber(oldest))
if is_lost then from, left_since = '0', '0' end
if left_since ~= '0' then left = call('ZRANGEBYSCORE', LEFT, '(' .. left_since, '+inf') end
local entries = call('ZRANGEBYSCORE', ROSTER, '(' .. from, '+inf', 'LIMIT', 0, ARGV[4])
local last = version
if #entries >= tonumber(ARGV[4]) then last = call('ZSCORE', ROSTER, entries[#entries]) end
answer[3], answer[4], answer[5], answer[6] = is_lost and 1 or 0, last, entries, left
answer[7] = call('ZCARD', ROSTER)
answer[8] = asked
return answer
