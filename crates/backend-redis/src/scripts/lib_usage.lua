-- The use of the store, counted by organization: the common part of the scripts that
-- create, change or remove operations, behind the prelude.
--
-- Behind the prefix of a partition:
--   usage              hash. The field is the hash of an organization (6) and a letter:
--                        o operations that are not Completed   s series among them
--                        t chains whose head is counted        b bytes
--                        m creates: minute:number in it:number in the one before
--                      The field 'c' has the bytes of all Completed operations. A
--                      field that comes to 0 is removed; m goes with b, or if its
--                      minute still counts then, with the next recount that repairs.
--   usage:recount      the counts of a recount that is under way: recount.lua
-- The hash of its organization stands in a record behind the flow, with the letter g,
-- or G for a series. A record of an earlier build has none, and is not counted.
--
-- The bytes of an operation are those of its body, its report and its checkpoint, and
-- a number for the rest. They do not depend on the length of the header.

local USAGE, CREATES, BYTES = 'usage', 'm', 'b'
local USAGE_AT = 74
local OF_ANY, OF_SERIES = ('gG'):byte(1, 2)
local MINUTE = 60
-- OPERATION_BYTES of the port.
local OPERATION_BYTES = 768

-- The changes of the counts, by place: write_usage() writes them, at the end. They are an id,
-- a field and a number after the other. The number of a field of creates is that of creates.
local changes_by_place = {}

-- A recount keeps its counts in a hash with these fields. One more of the usage has the
-- id up to which it has counted: recount.lua.
local RECOUNT, REACHED = ':recount', 'p'

-- Changes a count by what an operation has come to take.
local function change_usage(id, field, number)
  local changes = changes_by_place[place]
  if not changes then
    changes_by_place[place] = { id, field, number }
    return
  end
  local at = #changes
  changes[at + 1], changes[at + 2], changes[at + 3] = id, field, number
end

-- Returns the hash of the organization of an operation, or nil; and true for a
-- series.
local function organization_of(h)
  local letter = byte(h, 66) > 1 and byte(h, USAGE_AT)
  if letter ~= OF_ANY and letter ~= OF_SERIES then return nil end
  return sub(h, USAGE_AT + 1, USAGE_AT + 6), letter == OF_SERIES
end

-- The bytes of the report and of the checkpoint.
local function bytes_of_report(id, h)
  local parts, _, _, high, low = byte(h, 59, 63)
  local bytes = high * 256 + low
  if parts % 4 >= 2 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. REPORT) end
  if parts >= 4 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. CHECKPOINT) end
  return bytes
end

-- The bytes of an operation without its report and its checkpoint.
local function bytes_of_body(id, h)
  local parts, high, low = byte(h, 59, 61)
  local bytes = call('STRLEN', prefix .. RECORD .. id) - (high * 256 + low) + OPERATION_BYTES
  if parts % 2 >= 1 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. DATA) end
  return bytes
end

-- Counts an operation of an organization as not Completed, or as that no more.
local function count_open(id, organization, is_series, number)
  change_usage(id, organization .. 'o', number)
  if is_series then change_usage(id, organization .. 's', number) end
end

-- Counts a new operation. `data` is what is in a key of its own.
local function count_new(id, record, data, is_first_of_chain)
  local organization, is_series = organization_of(record)
  if not organization then return end
  local high, low = byte(record, 60, 61)
  count_open(id, organization, is_series, 1)
  change_usage(id, organization .. BYTES, #record - (high * 256 + low) + #data + OPERATION_BYTES)
  if is_first_of_chain then change_usage(id, organization .. 't', 1) end
  change_usage(id, organization .. CREATES, 1)
end

-- A chain is counted with its head: the next one takes its place, if there is one that
-- is counted. An operation of an earlier build is not.
local function count_next_head(id, h, second, record)
  local organization = organization_of(h)
  if organization then change_usage(id, organization .. 't', -1) end
  -- A record that was damaged is no reason to refuse a commit.
  local of_second = record and byte(record, 66) and organization_of(record)
  if of_second then change_usage(second, of_second .. 't', 1) end
end

-- Returns the creates of an organization, with so many more, as they are written. A clock
-- that was set back a little goes on with the minute that it had reached; what was written
-- further ahead is of a clock that was wrong.
-- Seldom: made where it is called.
local function add_creates(written, number)
  local minute, now, before = math.floor(seconds / MINUTE), 0, 0
  local was, counted, counted_before = string.match(written or '', '^(%d+):(%d+):(%d+)$')
  was = tonumber(was)
  if was == minute - 1 then
    before = counted
  elseif was == minute or was == minute + 1 then
    minute, now, before = was, tonumber(counted), counted_before
  end
  return decimal(minute) .. ':' .. decimal(now + number) .. ':' .. before
end

-- Returns true if creates that are written like this do not count any more.
local function creates_are_over(written)
  local minute = math.floor(tonumber(call('TIME')[1]) / MINUTE)
  local was = tonumber(string.match(written or '', '^%d+') or 0)
  return was + 1 < minute or was > minute + 1
end

-- Writes the changes and creates of a partition. In one read and one write: each command
-- of a script costs as much as the rest of a count.
local function write_partition(key, changes)
  local fields, sums = {}, {}
  for at = 2, #changes, 3 do
    local field = changes[at]
    local sum = sums[field]
    if not sum then
      sum = 0
      fields[#fields + 1] = field
    end
    sums[field] = sum + changes[at + 1]
  end
  local were = call('HMGET', key, REACHED, unpack(fields))
  local now, count, gone = {}, 0, {}
  for at = 1, #fields do
    local field = fields[at]
    local was, sum = were[at + 1], sums[field]
    local value
    if sub(field, 7) == CREATES then
      value = add_creates(was, sum)
    elseif sum ~= 0 then
      local number = (tonumber(was) or 0) + sum
      if number == 0 then
        gone[#gone + 1] = field
        local of_creates = sub(field, 1, 6) .. CREATES
        if sub(field, 7) == BYTES and not sums[of_creates] then
          if creates_are_over(call('HGET', key, of_creates)) then gone[#gone + 1] = of_creates end
        end
      else
        value = decimal(number)
      end
    end
    if value then
      now[count + 1], now[count + 2] = field, value
      count = count + 2
    end
  end
  if count > 0 then call('HSET', key, unpack(now)) end
  if #gone > 0 then call('HDEL', key, unpack(gone)) end

  local reached = were[1]
  if not reached then return end
  for at = 1, #changes, 3 do
    local id, field, number = unpack(changes, at, at + 2)
    if not is_behind(id, reached) and number ~= 0 and sub(field, 7) ~= CREATES then
      if call('HINCRBY', key .. RECOUNT, field, decimal(number)) == 0 then
        call('HDEL', key .. RECOUNT, field)
      end
    end
  end
end

-- Writes what was counted. Every script that counts ends with it.
local function write_usage()
  for at, changes in pairs(changes_by_place) do
    turn_to(at)
    write_partition(prefix .. USAGE, changes)
  end
end
