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
--
-- One name for all of it: a script has room for 200.
local usage = {}

do
  local USAGE, CREATES, BYTES = 'usage', 'm', 'b'
  local USAGE_AT, OF_SERIES = 74, 'G'
  local MINUTE = 60
  -- OPERATION_BYTES of the port.
  local OPERATION_BYTES = 768

  -- The counts, by place: usage.write() writes it, at the end. Changes are an id, a
  -- field and a number after the other; creates are by organization.
  local changes_by_place, creates_by_place = {}, {}

  -- A recount keeps its counts in a hash with these fields. One more of the usage has the
  -- id up to which it has counted: recount.lua.
  local RECOUNT, REACHED = ':recount', 'p'

  -- Changes a count by what an operation has come to take.
  function usage.change(id, field, number)
    local changes = changes_by_place[place]
    if not changes then
      changes = {}
      changes_by_place[place] = changes
    end
    local at = #changes
    changes[at + 1], changes[at + 2], changes[at + 3] = id, field, number
  end

  -- Returns the hash of the organization of an operation, or nil; and true for a
  -- series.
  function usage.organization_of(h)
    local letter = byte(h, 66) > 1 and sub(h, USAGE_AT, USAGE_AT)
    if letter ~= 'g' and letter ~= OF_SERIES then return nil end
    return sub(h, USAGE_AT + 1, USAGE_AT + 6), letter == OF_SERIES
  end

  -- The bytes of the report and of the checkpoint.
  function usage.bytes_of_report(id, h)
    local parts, _, _, high, low = byte(h, 59, 63)
    local bytes = high * 256 + low
    if parts % 4 >= 2 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. REPORT) end
    if parts >= 4 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. CHECKPOINT) end
    return bytes
  end

  -- The bytes of an operation without its report and its checkpoint.
  function usage.bytes_of_body(id, h)
    local parts, high, low = byte(h, 59, 61)
    local bytes = call('STRLEN', prefix .. RECORD .. id) - (high * 256 + low) + OPERATION_BYTES
    if parts % 2 >= 1 then bytes = bytes + call('STRLEN', prefix .. RECORD .. id .. DATA) end
    return bytes
  end

  -- Counts an operation of an organization as not Completed, or as that no more.
  function usage.count_open(id, organization, is_series, number)
    usage.change(id, organization .. 'o', number)
    if is_series then usage.change(id, organization .. 's', number) end
  end

  -- Counts a new operation. `data` is what is in a key of its own.
  function usage.count_new(id, record, data, is_first_of_chain)
    local organization, is_series = usage.organization_of(record)
    if not organization then return end
    local high, low = byte(record, 60, 61)
    usage.count_open(id, organization, is_series, 1)
    usage.change(id, organization .. BYTES, #record - (high * 256 + low) + #data + OPERATION_BYTES)
    if is_first_of_chain then usage.change(id, organization .. 't', 1) end
    local creates = creates_by_place[place]
    if not creates then
      creates = {}
      creates_by_place[place] = creates
    end
    creates[organization] = (creates[organization] or 0) + 1
  end

  -- A chain is counted with its head: the next one takes its place, if there is one that
  -- is counted. An operation of an earlier build is not.
  function usage.count_next_head(id, h, second, record)
    local organization = usage.organization_of(h)
    if organization then usage.change(id, organization .. 't', -1) end
    -- A record that was damaged is no reason to refuse a commit.
    local of_second = record and byte(record, 66) and usage.organization_of(record)
    if of_second then usage.change(second, of_second .. 't', 1) end
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
  function usage.are_over(written)
    local minute = math.floor(tonumber(call('TIME')[1]) / MINUTE)
    local was = tonumber(string.match(written or '', '^%d+') or 0)
    return was + 1 < minute or was > minute + 1
  end

  -- Writes the changes and creates of a partition. In one read and one write: each command
  -- of a script costs as much as the rest of a count.
  local function write_partition(key, changes, creates)
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
    local counts = #fields
    for organization in pairs(creates) do fields[#fields + 1] = organization .. CREATES end
    local were = call('HMGET', key, REACHED, unpack(fields))
    local now, gone = {}, {}
    for at, field in ipairs(fields) do
      local was, sum = were[at + 1], sums[field]
      if at > counts then
        now[#now + 1] = field
        now[#now + 1] = add_creates(was, creates[sub(field, 1, 6)])
      elseif sum ~= 0 then
        local number = (tonumber(was) or 0) + sum
        if number == 0 then
          gone[#gone + 1] = field
          local organization = sub(field, 1, 6)
          if sub(field, 7) == BYTES and not creates[organization] then
            local of_creates = organization .. CREATES
            if usage.are_over(call('HGET', key, of_creates)) then gone[#gone + 1] = of_creates end
          end
        else
          now[#now + 1] = field
          now[#now + 1] = decimal(number)
        end
      end
    end
    if #now > 0 then call('HSET', key, unpack(now)) end
    if #gone > 0 then call('HDEL', key, unpack(gone)) end

    local reached = were[1]
    if not reached then return end
    for at = 1, #changes, 3 do
      local id, field, number = unpack(changes, at, at + 2)
      if not is_behind(id, reached) and number ~= 0 then
        if call('HINCRBY', key .. RECOUNT, field, decimal(number)) == 0 then
          call('HDEL', key .. RECOUNT, field)
        end
      end
    end
  end

  -- Writes what was counted. Every script that counts ends with it.
  function usage.write()
    for at, changes in pairs(changes_by_place) do
      turn_to(at)
      write_partition(prefix .. USAGE, changes, creates_by_place[at] or {})
    end
  end
end
