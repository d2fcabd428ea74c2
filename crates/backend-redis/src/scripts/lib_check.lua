-- The common part of the scripts of a check, behind the prelude and lib_indexes.lua.
--
-- The scripts compare places with the fields of a record, which have the layout of the
-- prelude. What a header says is judged by the caller, who has decoded it.

-- The index of Completed operations.
local COMPLETED = '3'
local FORMAT_OF_RECORD = ('A'):byte()
-- The answer in the place of a record that has not the layout.
local NO_RECORD = '?'
local BYTES_OF_LOCK = 41

-- Returns the start of a record up to its body, as read_h() does; false if there is none;
-- NO_RECORD if there are other bytes in its place.
local function read_checked(id)
  local start = redis.pcall('GETRANGE', prefix .. RECORD .. id, '0', '255')
  if start == '' then return false end
  if type(start) ~= 'string' or #start < 66 or byte(start, 58) ~= FORMAT_OF_RECORD then
    return NO_RECORD
  end
  local h = read_h(id)
  if #h < 66 + KEY * byte(h, 66) then return NO_RECORD end
  return h
end

local function has_layout(h) return h and h ~= NO_RECORD end

-- Returns true if an operation may be in the broker at all: it has no chain, or is its
-- head.
local function travels(id, h)
  local chain = sub(h, 42, 57)
  return chain == NO_CHAIN or call('ZRANGE', prefix .. CHAIN .. chain, '0', '0')[1] == id
end

-- Returns the place of a Ready operation with this `h`: o outbox, f offered set, h held
-- set, p parked; '-' if it is in none.
local function place_of_ready(id, h)
  if not travels(id, h) then return 'p' end
  if is_held(h) then return set_has(prefix .. HELD, entry_of(id, h)) and 'h' or '-' end
  if set_has(prefix .. OUTBOX, outbox_entry_of(id, h)) then return 'o' end
  return set_has(prefix .. OFFERED_SET, flow_of(h) .. id) and 'f' or '-'
end
