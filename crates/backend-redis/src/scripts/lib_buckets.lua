-- Ordered sets of byte strings, kept in buckets. A sorted set of Redis costs
-- 137 bytes a member beyond 128 members, and some 25 below.
--
-- A set `key` consists of
--       key                   zset 0 -> member: the tail, above all bounds
--       key .. '/'            zset 0 -> bound: the directory
--       key .. '/' .. bound   zset 0 -> member: a bucket, with the members up to
--                             its bound and above the bound before
--       key .. '#'            number: the members in the buckets
-- A small set is its tail alone. A bound keeps its name while its bucket has
-- members; the bound itself may have left.
--
-- Most members are added at the end. A tail that is full becomes a bucket by a
-- new name.
-- No two neighbours stay sparse, except where one was sparse before the other.

-- Members of a tail that make it a bucket, and members in one command: a bucket
-- with twice as many is still a list in one piece. Redis looks through half a
-- bucket for each change, and a key costs as much as four members.
local FULL = 64
-- Members of a bucket that make it two.
local CROWDED = 2 * FULL
-- Members that make a bucket look for a neighbour, and those of both that are
-- united at most.
local SPARSE = FULL / 4
local UNITED = FULL * 3 / 4
-- Bounds that are read at once.
local BOUNDS = 8

local set_call = redis.call

-- A number as an argument. Left to itself, Redis prints it with 17 digits of a
-- fraction that it does not have, which takes longer than many a command; so
-- numbers that are known are written as strings.
local function decimal(number) return string.format('%d', number) end

-- The key of the bucket with this bound, or of the tail.
local function bucket_at(key, bound) return bound and key .. '/' .. bound or key end

-- The key of the bucket that a member belongs to, and its bound, or nil.
local function bucket_of(key, member)
  local bound = set_call('ZRANGEBYLEX', key .. '/', '[' .. member, '+', 'LIMIT', '0', '1')[1]
  return bucket_at(key, bound), bound
end

-- Returns true if a set has this member.
-- Seldom: made where it is called.
local function set_has(key, member)
  return (set_call('ZSCORE', (bucket_of(key, member)), member)) and true or false
end

-- The number of members.
local function set_size(key)
  return set_call('ZCARD', key) + tonumber(set_call('GET', key .. '#') or 0)
end

-- About how many members are between `from` and `to` ('[' or '(' and bytes);
-- exactly, where they are in one bucket.
local function set_count(key, from, to)
  local buckets = set_call('ZLEXCOUNT', key .. '/', from, to)
  local last = set_call('ZRANGEBYLEX', key .. '/', '(' .. to:sub(2), '+', 'LIMIT', '0', '1')[1]
  local rest = set_call('ZLEXCOUNT', bucket_at(key, last), from, to)
  return buckets * (FULL + CROWDED) / 2 + rest
end

-- The other end of a range that ends at `limit`.
local function beyond(limit)
  return (limit:byte() == 40 and '[' or '(') .. limit:sub(2)
end

-- The number of members between `from` and `to` ('[' or '(' and bytes); about `most`
-- or more, if there are as many: then not all buckets are looked at.
local function set_count_to(key, from, to, most)
  local directory = key .. '/'
  local count, start = 0, from
  while count < most do
    local bounds = set_call('ZRANGEBYLEX', directory, start, to, 'LIMIT', '0', decimal(BOUNDS))
    for at = 1, #bounds do
      count = count + set_call('ZLEXCOUNT', directory .. bounds[at], from, to)
      if count >= most then return count end
    end
    if #bounds < BOUNDS then
      local last = set_call('ZRANGEBYLEX', directory, beyond(to), '+', 'LIMIT', '0', '1')[1]
      return count + set_call('ZLEXCOUNT', bucket_at(key, last), from, to)
    end
    start = '(' .. bounds[BOUNDS]
  end
  return count
end

-- Appends the members of a bucket; returns true if no more are wanted.
local function take(found, most, command, bucket, from, to)
  local some = set_call(command, bucket, from, to, 'LIMIT', '0', decimal(most - #found))
  if #found == 0 then
    found = some
  else
    for at = 1, #some do found[#found + 1] = some[at] end
  end
  return found, #found >= most
end

-- Returns the first `most` members from `from` ('[' or '(' and bytes, or '-')
-- to `to` (likewise, or '+'), in order.
local function set_range(key, from, to, most)
  local directory = key .. '/'
  local found, enough, start = {}, most <= 0, from
  while not enough do
    local bounds = set_call('ZRANGEBYLEX', directory, start, to, 'LIMIT', '0', decimal(BOUNDS))
    for at = 1, #bounds do
      found, enough = take(found, most, 'ZRANGEBYLEX', directory .. bounds[at], from, to)
      if enough then return found end
    end
    if #bounds < BOUNDS then break end
    start = '(' .. bounds[BOUNDS]
  end
  if enough then return found end
  local last
  if to ~= '+' then
    -- The first bucket whose bound is not within, or the tail.
    last = set_call('ZRANGEBYLEX', directory, beyond(to), '+', 'LIMIT', '0', '1')[1]
  end
  return (take(found, most, 'ZRANGEBYLEX', bucket_at(key, last), from, to))
end

-- Returns the last `most` members from `from` ('[' or '(' and bytes, or '+')
-- down to `to` (likewise, or '-'), last first.
local function set_range_down(key, from, to, most)
  local directory = key .. '/'
  local first, start = nil, '+'
  if from ~= '+' then
    local bytes = from:sub(2)
    first = set_call('ZRANGEBYLEX', directory, '[' .. bytes, '+', 'LIMIT', '0', '1')[1]
    start = '(' .. bytes
  end
  local found, enough = take({}, most, 'ZREVRANGEBYLEX', bucket_at(key, first), from, to)
  while not enough do
    local bounds = set_call('ZREVRANGEBYLEX', directory, start, to, 'LIMIT', '0', decimal(BOUNDS))
    for at = 1, #bounds do
      found, enough = take(found, most, 'ZREVRANGEBYLEX', directory .. bounds[at], from, to)
      if enough then return found end
    end
    if #bounds < BOUNDS then break end
    start = '(' .. bounds[BOUNDS]
  end
  return found
end
