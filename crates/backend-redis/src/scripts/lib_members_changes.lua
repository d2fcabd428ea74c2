-- The changes of the roster: the common part of beat_changes.lua and leave.lua, behind
-- lib_members.lua. A beat that changes nothing returns before: each of these
-- functions would cost it time.

-- The version follows the time, so that a store that has lost its last writes
-- gives no version out twice.
local function next_version()
  local last = tonumber(call('GET', VERSION) or 0)
  local version = decimal(math.max(last + 1, now_us))
  call('SET', VERSION, version)
  return version
end

-- Counts one more member with a profile.
local function take_profile(digest, profile)
  local known = call('HGET', PROFILES, digest)
  local count = known and struct.unpack('>I4', known) or 0
  call('HSET', PROFILES, digest, struct.pack('>I4', count + 1) .. profile)
end

-- Counts one member less; the last one takes the profile with it.
local function drop_profile(digest)
  local known = call('HGET', PROFILES, digest)
  if not known then return end
  local count = struct.unpack('>I4', known) - 1
  if count > 0 then
    call('HSET', PROFILES, digest, struct.pack('>I4', count) .. known:sub(5))
  else
    call('HDEL', PROFILES, digest)
  end
end

-- Takes the entry of a member with this report out of the roster.
local function drop_entry(id, report)
  local digest = report:sub(1, DIGEST)
  call('ZREM', ROSTER, id .. digest)
  drop_profile(digest)
end

-- Removes a member.
local function remove(id)
  call('ZREM', BEATS, id)
  local report = call('HGET', REPORTS, id)
  if not report then return end
  call('HDEL', REPORTS, id)
  call('HDEL', RUNNING, id)
  call('HDEL', DRAINS, id)
  drop_entry(id, report)
  call('ZADD', LEFT, next_version(), id)
  call('ZREMRANGEBYRANK', LEFT, 0, -MOST_LEFT - 1)
end
