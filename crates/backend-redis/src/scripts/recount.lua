-- recount: counts some operations of one partition, in order of their ids, and compares
-- the counts with the usage at the end. lib_usage.lua has the counts.
--
-- A recount that repairs keeps its counts beside the usage. Every script that changes
-- the usage for an operation that was counted changes these, too: so operations may
-- change meanwhile. Without a repair it reads only, and its caller adds the counts up.
--
-- KEYS  prelude.lua
-- ARGV  1 'r' to repair; else '-'
--       2 the id (16) behind which to go on, or '' to begin
--       3 how many operations
-- Returns the last id that was counted; 1 if there are more, 0 at the end, 2 if another
--         recount has begun meanwhile; how many were counted; then with a repair, at the
--         end, per count that was wrong, 3: field, as it was, as it is now.
--         Without one: a digest of the usage and the tick; a list of these counts: field,
--         number; at the end the usage: field, number
local repairs, from, wanted = ARGV[1] == 'r', ARGV[2], tonumber(ARGV[3])
local USAGE_KEY, RECOUNT_KEY = KEYS[1] .. 'usage', KEYS[1] .. 'usage:recount'

if repairs then
  if from == '' then
    call('DEL', RECOUNT_KEY)
    call('HSET', USAGE_KEY, 'p', '')
  elseif call('HGET', USAGE_KEY, 'p') ~= from then
    return { from, 2, 0 }
  end
end

local ids = {}
for letter in ('013'):gmatch('.') do
  local some = set_range(prefix .. INDEX .. letter, from == '' and '-' or '(' .. from, '+', wanted)
  for _, id in ipairs(some) do ids[#ids + 1] = id end
end
for _, id in ipairs(call('HKEYS', prefix .. LOCKS)) do
  if from == '' or is_behind(id, from) then ids[#ids + 1] = id end
end
table.sort(ids, function(one, other) return is_behind(other, one) end)

local sums = {}
local function count(field, number) sums[field] = (sums[field] or 0) + number end

local function count_one(id, h)
  local organization, is_series = organization_of(h)
  if not organization then return end
  local bytes = bytes_of_body(id, h) + bytes_of_report(id, h)
  count(organization .. 'b', bytes)
  if sub(h, 41, 41) == COMPLETED then
    count('c', bytes)
  else
    count(organization .. 'o', 1)
    if is_series then count(organization .. 's', 1) end
  end
  local chain = sub(h, 42, 57)
  if chain ~= NO_CHAIN and call('ZRANGE', prefix .. CHAIN .. chain, '0', '0')[1] == id then
    count(organization .. 't', 1)
  end
end

local counted, last = 0, from
for _, id in ipairs(ids) do
  if counted == wanted then break end
  -- An operation that is in two sets is counted once.
  if id ~= last then
    local h = read_checked(id)
    if has_layout(h) then count_one(id, h) end
    counted = counted + 1
    last = id
  end
end
-- As many as were wanted: the next call finds out whether there are more.
local has_more = counted == wanted and 1 or 0

-- Creates in a minute are no counts of what there is: nothing can count them again.
local function is_count(field) return field ~= 'p' and sub(field, 7) ~= 'm' end

-- The fields of a hash, and their numbers; the creates by organization.
local function numbers_in(key)
  local all, numbers, creates = call('HGETALL', key), {}, {}
  for at = 1, #all, 2 do
    local field = all[at]
    if is_count(field) then
      numbers[field] = tonumber(all[at + 1]) or 0
    elseif field ~= 'p' then
      creates[sub(field, 1, 6)] = all[at + 1]
    end
  end
  return numbers, creates
end

if not repairs then
  local flat = {}
  for field, number in pairs(sums) do
    flat[#flat + 1], flat[#flat + 2] = field, decimal(number)
  end
  local all, usage_now = call('HGETALL', USAGE_KEY), {}
  for at = 1, #all, 2 do
    if is_count(all[at]) then
      usage_now[#usage_now + 1], usage_now[#usage_now + 2] = all[at], all[at + 1]
    end
  end
  local digest =
    redis.sha1hex(table.concat(usage_now, ' ') .. ' ' .. (call('GET', prefix .. TICK) or ''))
  return { last, has_more, counted, digest, flat, has_more == 0 and usage_now or {} }
end

for field, number in pairs(sums) do
  if number ~= 0 and call('HINCRBY', RECOUNT_KEY, field, decimal(number)) == 0 then
    call('HDEL', RECOUNT_KEY, field)
  end
end
if has_more == 1 then
  call('HSET', USAGE_KEY, 'p', last)
  return { last, 1, counted }
end

local answers = { last, 0, counted }
local was, creates = numbers_in(USAGE_KEY)
local is = numbers_in(RECOUNT_KEY)
local function note(field, before, now)
  if before ~= now then
    local at = #answers
    answers[at + 1], answers[at + 2], answers[at + 3] = field, decimal(before), decimal(now)
  end
end
for field, before in pairs(was) do note(field, before, is[field] or 0) end
for field, now in pairs(is) do
  if not was[field] then note(field, 0, now) end
end
call('HDEL', USAGE_KEY, 'p')
for at = 4, #answers, 3 do
  local field, now = answers[at], answers[at + 2]
  if now == '0' then
    call('HDEL', USAGE_KEY, field)
  else
    call('HSET', USAGE_KEY, field, now)
  end
end
-- Creates of an organization that has nothing here any more.
for organization, written in pairs(creates) do
  if not is[organization .. 'b'] and creates_are_over(written) then
    call('HDEL', USAGE_KEY, organization .. 'm')
  end
end
call('DEL', RECOUNT_KEY)
return answers
