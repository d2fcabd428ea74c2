-- beat: notes that a member is alive; removes members that have been silent for
-- too long; returns the changes of the roster. Behind lib_members.lua, which
-- describes the keys; before lib_members_changes.lua and beat_changes.lua, which
-- only a beat reaches that changes something.
--
-- ARGV  1 the ms of silence after which a member is removed
--       2 the version up to which the caller knows the entries; 0 for none
--       3 the version up to which it knows the members that have left
--       4 the most entries in an answer
--       5 id, or '' to read only
--       6 the digest of the profile (8) + the rest of the report
--       7 the number of running operations
--       8 the profile
--       9 1 to look for members that have been silent for too long
-- Returns {version, the time in us}, and 1 as the last if the member was asked to
--         drain. Between them, if the caller knows an earlier version:
--       3 1 if the caller must forget all entries that it knows, else 0
--       4 the version up to which it knows the entries now: an earlier one than
--         the first if another answer has the rest
--       5 entries: id + digest. 6 the ids of members that have left
--       7 the number of all entries
local timeout, id = tonumber(ARGV[1]), ARGV[5]
local now = math.floor(now_us / 1000)
local report, is_new, asked
local silent, early = {}, {}
-- The most members that one call removes, so that no call takes long.
local MOST_REMOVED = 32

if id ~= '' then
  if type(redis.pcall('ZADD', BEATS, decimal(now), id)) == 'table' then
    -- A full server refuses a script whose first write may need room; this write
    -- needs none. A member that beats again needs none either.
    call('ZREM', BEATS, '')
    call('ZADD', BEATS, decimal(now), id)
  end
  if call('HGET', RUNNING, id) ~= ARGV[7] then call('HSET', RUNNING, id, ARGV[7]) end
  asked = call('HEXISTS', DRAINS, id) == 1 and 1 or nil
  report = call('HGET', REPORTS, id)
  is_new = report ~= ARGV[6]
  if ARGV[9] == '1' then
    local silent_since = now - timeout
    if tonumber(call('ZRANGE', BEATS, 0, 0, 'WITHSCORES')[2]) <= silent_since then
      local until_then = decimal(silent_since)
      silent = call('ZRANGEBYSCORE', BEATS, '-inf', until_then, 'LIMIT', 0, MOST_REMOVED)
    end
    if tonumber(call('ZREVRANGE', BEATS, 0, 0, 'WITHSCORES')[2]) > now + timeout then
      local from_then = '(' .. decimal(now + timeout)
      early = call('ZRANGEBYSCORE', BEATS, from_then, '+inf', 'LIMIT', 0, MOST_REMOVED)
    end
  end
end
local version = call('GET', VERSION) or '0'
if version == ARGV[2] and not is_new and #silent == 0 and #early == 0 then
  return { version, decimal(now_us), asked }
end
