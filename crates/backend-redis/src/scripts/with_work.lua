-- with_work: which of several partitions have work of one kind. Reads only.
--
-- KEYS  per partition the key that has such work, behind lib_buckets.lua
-- ARGV  1 the kind: a, any member of a hash or of a set in buckets
--                   d, an operation in the due set whose time has come
--                   n, a notice whose time has come
--                   e, an end up to a stamp
--       2 of an end: the stamp that is too late (8)
-- Returns {a byte per partition: '1' if it has work, else '0'; of a time, in how many
-- ms the earliest comes that has not come, or 0}
local function has_any(key) return set_call('EXISTS', key, key .. '/') > 0 end

local function has_end(key) return set_range(key, '-', '(' .. ARGV[2], 1)[1] ~= nil end

local time = set_call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- As in due.lua and notices.lua.
local per_ms = ARGV[1] == 'n' and 256 or 1
local next_ms = 0
local function has_come(key)
  local score = set_call('ZRANGE', key, '0', '0', 'WITHSCORES')[2]
  if not score then return false end
  local rest = math.floor(tonumber(score) / per_ms) - ms
  if rest <= 0 then return true end
  if next_ms == 0 or rest < next_ms then next_ms = rest end
  return false
end

local has_work = ({ a = has_any, d = has_come, n = has_come, e = has_end })[ARGV[1]]
local found = {}
for at = 1, #KEYS do found[at] = has_work(KEYS[at]) and '1' or '0' end
return { table.concat(found), next_ms }
