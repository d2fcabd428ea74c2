-- The use of the store, counted by organization: the common part of the scripts that
-- create, change or remove operations, behind the prelude.
--
-- Behind the prefix of a partition:
--   usage              hash. The field is the hash of an organization (6) and a letter:
--                        o operations that are not Completed   s series among them
--                        t chains whose head is counted        b bytes
--                      The field 'c' has the bytes of all Completed operations. A
--                      field that comes to 0 is removed.
--   usage:recount      the counts of a recount that is under way: recount.lua
--   creates: + minute  hash: hash of an organization -> its creates in that minute;
--                      expires
-- The hash of its organization stands in a record behind the flow, with the letter g,
-- or G for a series. A record of an earlier build has none, and is not counted.
--
-- The bytes of an operation are those of its body, its report and its checkpoint, and
-- a number for the rest. They do not depend on the length of the header.
--
-- One name for all of it: a script has room for 200.
local usage = {}

do
  local USAGE, CREATES, USAGE_SECONDS = 'usage', 'creates:', '180'
  local USAGE_AT, OF_SERIES = 74, 'G'
  local MICROSECONDS = 60 * 1000000
  -- OPERATION_BYTES of the port.
  local OPERATION_BYTES = 768

  -- The changes, by key and field: usage.write() writes them, at the end.
  local changes_by_key, new_by_minute = {}, {}

  -- A recount keeps its counts in a hash with these fields. One more has the id up to
  -- which it has counted: recount.lua.
  local RECOUNT, REACHED = 'usage:recount', 'p'
  local reached_by_place = {}

  -- Returns true if a recount has counted an operation. One command finds out that there
  -- is no recount, once in a script.
  local function was_recounted(id)
    local reached = reached_by_place[place]
    if reached == nil then
      reached = call('HGET', KEYS[place] .. RECOUNT, REACHED)
      reached_by_place[place] = reached
    end
    return reached and not is_behind(id, reached)
  end

  local function add(sums, key, field, number)
    local sums_of_key = sums[key]
    if not sums_of_key then
      sums_of_key = {}
      sums[key] = sums_of_key
    end
    sums_of_key[field] = (sums_of_key[field] or 0) + number
  end

  -- Changes a count by what an operation has come to take.
  function usage.change(id, field, number)
    add(changes_by_key, KEYS[place] .. USAGE, field, number)
    if was_recounted(id) then add(changes_by_key, KEYS[place] .. RECOUNT, field, number) end
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
    if parts % 4 >= 2 then bytes = bytes + call('STRLEN', RECORD .. id .. REPORT) end
    if parts >= 4 then bytes = bytes + call('STRLEN', RECORD .. id .. CHECKPOINT) end
    return bytes
  end

  -- The bytes of an operation without its report and its checkpoint.
  function usage.bytes_of_body(id, h)
    local parts, high, low = byte(h, 59, 61)
    local bytes = call('STRLEN', RECORD .. id) - (high * 256 + low) + OPERATION_BYTES
    if parts % 2 >= 1 then bytes = bytes + call('STRLEN', RECORD .. id .. DATA) end
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
    usage.change(id, organization .. 'b', #record - (high * 256 + low) + #data + OPERATION_BYTES)
    if is_first_of_chain then usage.change(id, organization .. 't', 1) end
    local minute = decimal(math.floor(last / MICROSECONDS))
    add(new_by_minute, KEYS[place] .. CREATES .. minute, organization, 1)
  end

  -- Writes what was counted. Every script that counts ends with it.
  function usage.write()
    for key, changes in pairs(changes_by_key) do
      for field, number in pairs(changes) do
        if number ~= 0 and call('HINCRBY', key, field, decimal(number)) == 0 then
          call('HDEL', key, field)
        end
      end
    end
    for key, counts in pairs(new_by_minute) do
      for organization, number in pairs(counts) do
        call('HINCRBY', key, organization, decimal(number))
      end
      call('EXPIRE', key, USAGE_SECONDS)
    end
  end
end
