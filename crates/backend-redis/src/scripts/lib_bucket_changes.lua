-- Changes of the sets of lib_buckets.lua; it is put in front of this.

-- Adds members first to last of a list to a tail or bucket, at most FULL.
local function put_into(bucket, members, first, last)
  local arguments, count = { 'ZADD', bucket }, 2
  for at = first, last do
    arguments[count + 1] = '0'
    arguments[count + 2] = members[at]
    count = count + 2
  end
  return set_call(unpack(arguments, 1, count))
end

-- The keys of sets whose members are not counted.
local uncounted = {}

-- Counts members that came to the buckets or left them.
local function count_in_buckets(key, change)
  if change ~= 0 and not uncounted[key] then set_call('INCRBY', key .. '#', decimal(change)) end
end

-- Removes a bucket without members from the directory.
-- Seldom: made where it is called.
local function drop_bucket(key, bound)
  set_call('ZREM', key .. '/', bound)
  if not uncounted[key] and set_call('EXISTS', key .. '/') == 0 then
    set_call('DEL', key .. '#')
  end
end

-- The lower half of a crowded bucket becomes a bucket of its own.
-- Seldom: made where it is called.
local function divide(key, bucket)
  local half = set_call('ZRANGE', bucket, '0', decimal(FULL - 1))
  local bound = half[FULL]
  put_into(bucket_at(key, bound), half, 1, FULL)
  set_call('ZREMRANGEBYRANK', bucket, '0', decimal(FULL - 1))
  set_call('ZADD', key .. '/', '0', bound)
end

-- Returns true if `one` is behind `other`, compared as bytes. Lua's own comparison
-- goes by the locale of the server. Both are strings of at least four bytes.
local function is_behind(one, other)
  local common = math.min(#one, #other)
  local at = 1
  -- Twelve bytes at once, as two numbers below 2^48: a call costs as much as the rest.
  while at + 11 <= common do
    local a, c = struct.unpack('>I6I6', one, at)
    local b, d = struct.unpack('>I6I6', other, at)
    if a ~= b then return a > b end
    if c ~= d then return c > d end
    at = at + 12
  end
  while at + 3 <= common do
    local a, b = struct.unpack('>I4', one, at), struct.unpack('>I4', other, at)
    if a ~= b then return a > b end
    at = at + 4
  end
  while at <= common do
    local a, b = one:byte(at), other:byte(at)
    if a ~= b then return a > b end
    at = at + 1
  end
  return #one > #other
end

local set_add

-- Adds members that are above all bounds.
local function append(key, members)
  local count = #members
  put_into(key, members, 1, math.min(FULL, count))
  local card = set_call('ZCARD', key)
  if card >= FULL then
    local bound = set_call('ZRANGE', key, '-1', '-1')[1]
    set_call('RENAME', key, key .. '/' .. bound)
    set_call('ZADD', key .. '/', '0', bound)
    count_in_buckets(key, card)
  end
  -- They need not be above the new bound.
  if count > FULL then set_add(key, { unpack(members, FULL + 1, count) }) end
end

-- Adds members to the bucket that all of them belong to.
local function add_to_bucket(key, bucket, members)
  local card, count = set_call('ZCARD', bucket), #members
  if card + count <= CROWDED then
    count_in_buckets(key, put_into(bucket, members, 1, count))
    return
  end
  -- One by one: each may crowd the bucket that it belongs to.
  for at = 1, count do
    local own = bucket_of(key, members[at])
    if set_call('ZCARD', own) >= CROWDED then
      divide(key, own)
      own = bucket_of(key, members[at])
    end
    count_in_buckets(key, put_into(own, members, at, at))
  end
end

-- Adds members.
function set_add(key, members)
  local last_bound = set_call('ZREVRANGE', key .. '/', '0', '0')[1]
  if not last_bound then return append(key, members) end
  local above, buckets, by_bucket = {}, {}, {}
  for at = 1, #members do
    local member = members[at]
    if is_behind(member, last_bound) then
      above[#above + 1] = member
    else
      local bucket = bucket_of(key, member)
      local here = by_bucket[bucket]
      if not here then
        here = {}
        by_bucket[bucket] = here
        buckets[#buckets + 1] = bucket
      end
      here[#here + 1] = member
    end
  end
  for at = 1, #buckets do add_to_bucket(key, buckets[at], by_bucket[buckets[at]]) end
  if #above > 0 then append(key, above) end
end

-- Moves the members of a bucket into the one behind it, or into the tail.
-- Returns true, as the caller does.
-- Seldom: made where it is called.
local function unite(key, bound, card, next_bound)
  local bucket = bucket_at(key, bound)
  put_into(bucket_at(key, next_bound), set_call('ZRANGE', bucket, '0', '-1'), 1, card)
  set_call('DEL', bucket)
  if not next_bound then count_in_buckets(key, -card) end
  drop_bucket(key, bound)
  return true
end

-- Unites a bucket that has become sparse with a neighbour; returns true if one
-- has room.
-- Seldom: made where it is called.
local function look_for_neighbour(key, bound, card)
  local directory = key .. '/'
  local behind = set_call('ZRANGEBYLEX', directory, '(' .. bound, '+', 'LIMIT', '0', '1')[1]
  if card + set_call('ZCARD', bucket_at(key, behind)) <= UNITED then
    return unite(key, bound, card, behind)
  end
  local before = set_call('ZREVRANGEBYLEX', directory, '(' .. bound, '-', 'LIMIT', '0', '1')[1]
  if not before then return false end
  local card_before = set_call('ZCARD', bucket_at(key, before))
  return card + card_before <= UNITED and unite(key, before, card_before, bound)
end

-- Removes members from a tail or bucket; returns how many there were.
local function take_from(bucket, members)
  local count = #members
  if count <= 1000 then return set_call('ZREM', bucket, unpack(members)) end
  local removed = 0
  for first = 1, count, 1000 do
    removed = removed
      + set_call('ZREM', bucket, unpack(members, first, math.min(first + 999, count)))
  end
  return removed
end

-- Removes members; returns how many there were. Each bucket that a member
-- belongs to is asked once, for all members.
local function set_remove(key, members)
  local count = #members
  local removed = take_from(key, members)
  if removed == count then return removed end
  -- Those above all bounds were in the tail, if anywhere: one look is cheaper than many.
  local last_bound
  if count > 1 then
    last_bound = set_call('ZREVRANGE', key .. '/', '0', '0')[1]
    if not last_bound then return removed end
  end
  local asked = { [key] = true }
  for at = 1, count do
    local bucket, bound = key, nil
    if not last_bound or not is_behind(members[at], last_bound) then
      bucket, bound = bucket_of(key, members[at])
    end
    if not asked[bucket] then
      asked[bucket] = true
      local here = take_from(bucket, members)
      removed = removed + here
      if bound and here > 0 then
        count_in_buckets(key, -here)
        local card = set_call('ZCARD', bucket)
        if card == 0 then
          drop_bucket(key, bound)
        elseif card <= SPARSE then
          local is_united = look_for_neighbour(key, bound, card)
          -- Members may be in a bucket that was asked before they came.
          if is_united then asked = {} end
        end
      end
    end
    if removed == count then break end
  end
  return removed
end
