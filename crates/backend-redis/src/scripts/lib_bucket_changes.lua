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

-- Counts members that came to the buckets or left them.
local function count_in_buckets(key, change)
  if change ~= 0 then set_call('INCRBY', key .. '#', change) end
end

-- Removes a bucket without members from the directory.
local function drop_bucket(key, bound)
  set_call('ZREM', key .. '/', bound)
  if set_call('EXISTS', key .. '/') == 0 then set_call('DEL', key .. '#') end
end

-- The lower half of a crowded bucket becomes a bucket of its own.
local function divide(key, bucket)
  local half = set_call('ZRANGE', bucket, 0, FULL - 1)
  local bound = half[FULL]
  put_into(bucket_at(key, bound), half, 1, FULL)
  set_call('ZREMRANGEBYRANK', bucket, 0, FULL - 1)
  set_call('ZADD', key .. '/', '0', bound)
end

-- Moves the members of the tail that belong into buckets.
local function sort_out(key, last_bound)
  while true do
    local first = set_call('ZRANGEBYLEX', key, '-', '[' .. last_bound, 'LIMIT', 0, 1)[1]
    if not first then return end
    local bucket, bound = bucket_of(key, first)
    local room = CROWDED - set_call('ZCARD', bucket)
    if room <= 0 then
      divide(key, bucket)
    else
      local moving =
        set_call('ZRANGEBYLEX', key, '-', '[' .. bound, 'LIMIT', 0, math.min(room, FULL))
      count_in_buckets(key, put_into(bucket, moving, 1, #moving))
      set_call('ZREM', key, unpack(moving))
    end
  end
end

-- Adds members.
local function set_add(key, members)
  for first = 1, #members, FULL do
    put_into(key, members, first, math.min(first + FULL - 1, #members))
    local last_bound = set_call('ZREVRANGE', key .. '/', 0, 0)[1]
    if last_bound then sort_out(key, last_bound) end
    local card = set_call('ZCARD', key)
    if card >= FULL then
      local bound = set_call('ZRANGE', key, -1, -1)[1]
      set_call('RENAME', key, key .. '/' .. bound)
      set_call('ZADD', key .. '/', '0', bound)
      count_in_buckets(key, card)
    end
  end
end

-- Adds members that belong anywhere, each to its bucket.
local function set_insert(key, members)
  if set_call('EXISTS', key .. '/') == 0 then return set_add(key, members) end
  local behind, buckets, by_bucket = {}, {}, {}
  for at = 1, #members do
    local bucket, bound = bucket_of(key, members[at])
    local here = bound and by_bucket[bucket] or behind
    if bound and here == behind then
      here = {}
      by_bucket[bucket] = here
      buckets[#buckets + 1] = bucket
    end
    here[#here + 1] = members[at]
  end
  for at = 1, #buckets do
    local bucket = buckets[at]
    local here = by_bucket[bucket]
    local card, count = set_call('ZCARD', bucket), #here
    if card + count <= CROWDED then
      count_in_buckets(key, put_into(bucket, here, 1, count))
    else
      -- One by one: each may crowd the bucket that it belongs to.
      for place = 1, count do
        local own = bucket_of(key, here[place])
        if set_call('ZCARD', own) >= CROWDED then
          divide(key, own)
          own = bucket_of(key, here[place])
        end
        count_in_buckets(key, put_into(own, here, place, place))
      end
    end
  end
  if #behind > 0 then set_add(key, behind) end
end

-- Moves the members of a bucket into the one behind it, or into the tail.
-- Returns true, as the caller does.
local function unite(key, bound, card, next_bound)
  local bucket = bucket_at(key, bound)
  put_into(bucket_at(key, next_bound), set_call('ZRANGE', bucket, 0, -1), 1, card)
  set_call('DEL', bucket)
  if not next_bound then count_in_buckets(key, -card) end
  drop_bucket(key, bound)
  return true
end

-- Unites a bucket that has become sparse with a neighbour; returns true if one
-- has room.
local function look_for_neighbour(key, bound, card)
  local directory = key .. '/'
  local behind = set_call('ZRANGEBYLEX', directory, '(' .. bound, '+', 'LIMIT', 0, 1)[1]
  if card + set_call('ZCARD', bucket_at(key, behind)) <= UNITED then
    return unite(key, bound, card, behind)
  end
  local before = set_call('ZREVRANGEBYLEX', directory, '(' .. bound, '-', 'LIMIT', 0, 1)[1]
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
  if set_call('EXISTS', key .. '/') == 0 then return take_from(key, members) end
  local count, removed, asked = #members, 0, {}
  for at = 1, count do
    local bucket, bound = bucket_of(key, members[at])
    if not asked[bucket] then
      asked[bucket] = true
      local here = take_from(bucket, members)
      removed = removed + here
      if bound and here > 0 then
        count_in_buckets(key, -here)
        local card = set_call('ZCARD', bucket)
        if card == 0 then
          drop_bucket(key, bound)
        elseif card <= SPARSE and look_for_neighbour(key, bound, card) then
          -- Members may be in a bucket that was asked before they came.
          asked = {}
        end
      end
    end
    if removed == count then break end
  end
  return removed
end
