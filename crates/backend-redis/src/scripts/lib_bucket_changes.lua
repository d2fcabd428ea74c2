-- Changes of the sets of lib_buckets.lua; it is put in front of this.

-- Adds members first to last of a list to a tail or bucket, at most FULL. The last comes
-- first: Redis looks for the place of a member from the start of the bucket.
local function put_into(bucket, members, first, last)
  local arguments, count = { 'ZADD', bucket }, 2
  for at = last, first, -1 do
    arguments[count + 1] = '0'
    arguments[count + 2] = members[at]
    count = count + 2
  end
  return set_call(unpack(arguments, 1, count))
end

-- True if the members of the set that is changed are counted.
local counts_members = true

-- Counts members that came to the buckets or left them.
local function count_in_buckets(key, change)
  if change ~= 0 and counts_members then set_call('INCRBY', key .. '#', decimal(change)) end
end

-- Removes a bucket without members from the directory.
-- Seldom: made where it is called.
local function drop_bucket(key, bound)
  set_call('ZREM', key .. '/', bound)
  if counts_members and set_call('EXISTS', key .. '/') == 0 then
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

-- Makes a tail that is full a bucket.
-- Seldom: made where it is called.
local function make_bucket(key, card)
  local bound = set_call('ZRANGE', key, '-1', '-1')[1]
  set_call('RENAME', key, key .. '/' .. bound)
  set_call('ZADD', key .. '/', '0', bound)
  count_in_buckets(key, card)
end

-- Adds a member.
local function add_one(key, member)
  local bucket, bound = bucket_of(key, member)
  if not bound then
    set_call('ZADD', key, '0', member)
    local card = set_call('ZCARD', key)
    if card >= FULL then
      make_bucket(key, card)
    end
    return
  end
  if set_call('ZCARD', bucket) >= CROWDED then
    divide(key, bucket)
    bucket = bucket_of(key, member)
  end
  count_in_buckets(key, set_call('ZADD', bucket, '0', member))
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

-- Looks after a bucket that members have left. Returns true if it was united with a
-- neighbour.
local function tidy(key, bucket, bound)
  local card = set_call('ZCARD', bucket)
  if card > SPARSE then return false end
  if card == 0 then
    drop_bucket(key, bound)
    return false
  end
  return look_for_neighbour(key, bound, card)
end

-- Removes a member; returns 1 if there was one, else 0.
local function remove_one(key, member)
  if set_call('ZREM', key, member) == 1 then return 1 end
  local bucket, bound = bucket_of(key, member)
  if not bound or set_call('ZREM', bucket, member) == 0 then return 0 end
  count_in_buckets(key, -1)
  tidy(key, bucket, bound)
  return 1
end

-- Returns the functions that add several members to a set, and remove several. A call of
-- one operation has no use for them.
-- Seldom: made where it is called.
local function for_several()
  -- Adds members to the bucket that all of them belong to.
  local function add_to_bucket(key, bucket, members)
    local count = #members
    if set_call('ZCARD', bucket) + count <= CROWDED then
      count_in_buckets(key, put_into(bucket, members, 1, count))
      return
    end
    -- One by one: each may crowd the bucket that it belongs to.
    for at = 1, count do add_one(key, members[at]) end
  end

  -- Adds members that are above all bounds.
  local function append(key, members)
    put_into(key, members, 1, #members)
    local card = set_call('ZCARD', key)
    if card >= FULL then
      make_bucket(key, card)
    end
  end

  -- Adds members, at most FULL.
  local function add_some(key, members)
    local last_bound = set_call('ZREVRANGE', key .. '/', '0', '0')[1]
    if not last_bound then return append(key, members) end
    local above, by_bucket = {}, {}
    for at = 1, #members do
      local member = members[at]
      if is_behind(member, last_bound) then
        above[#above + 1] = member
      else
        local bucket = bucket_of(key, member)
        local here = by_bucket[bucket]
        if here then
          here[#here + 1] = member
        else
          by_bucket[bucket] = { member }
        end
      end
    end
    for bucket, here in pairs(by_bucket) do add_to_bucket(key, bucket, here) end
    if #above > 0 then append(key, above) end
  end

  -- Adds members.
  local function set_add(key, members)
    local count = #members
    if count == 1 then return add_one(key, members[1]) end
    if count <= FULL then return add_some(key, members) end
    -- Those behind the first need not be above the bound that these give.
    for first = 1, count, FULL do
      add_some(key, { unpack(members, first, math.min(first + FULL - 1, count)) })
    end
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
    if count == 1 then return remove_one(key, members[1]) end
    local removed = take_from(key, members)
    if removed == count then return removed end
    -- Those above all bounds were in the tail, if anywhere: one look is cheaper than many.
    local last_bound = set_call('ZREVRANGE', key .. '/', '0', '0')[1]
    if not last_bound then return removed end
    local asked = { [key] = true }
    for at = 1, count do
      local bucket, bound = key, nil
      if not is_behind(members[at], last_bound) then
        bucket, bound = bucket_of(key, members[at])
      end
      if not asked[bucket] then
        asked[bucket] = true
        local here = take_from(bucket, members)
        removed = removed + here
        if bound and here > 0 then
          count_in_buckets(key, -here)
          -- Members may be in a bucket that was asked before they came.
          if tidy(key, bucket, bound) then asked = {} end
        end
      end
      if removed == count then break end
    end
    return removed
  end

  return set_add, set_remove
end
