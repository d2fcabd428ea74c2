-- check_records: the records of some operations of one partition, and the places where
-- they are. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  the ids (16)
-- Returns per id, 6:
--       the record up to its body; '' if there is none, '?' if it has not the layout
--       two letters: 1 if it is in the index of its state, or has a lock if it is in
--         none, else 0; its place if it is Ready (place_of_ready()), else '.', or ',' if
--         it may be an operation of an earlier build that is yet to be entered
--       its place in its chain, a decimal number, or '' if it is not there
--       its time in the due set, likewise
--       the letters of the classes of ends that it is in
--       the names of the further indexes that it is missing from, with blanks between
local seen = call('GET', prefix .. OFFERED_SET .. ':seen')

local function missing_from(id, h)
  local off, keys, missing = kinds_off(), keys_in(h), {}
  for at = 4, #keys, KEY do
    local kind = sub(keys, at, at)
    local name = not off[kind] and index_name(kind, keys)
    if name and not set_has(prefix .. INDEX .. name, sub(keys, at + 1, at + HASH) .. id) then
      missing[#missing + 1] = name
    end
  end
  local chain = sub(h, CHAIN_AT, CHAIN_AT + 15)
  if
    chain ~= NO_CHAIN
    and not off[TOKEN]
    and not set_has(prefix .. INDEX .. TOKEN, sub(chain, 1, HASH) .. id)
  then
    missing[#missing + 1] = TOKEN
  end
  return table.concat(missing, ' ')
end

local function ends_of(id, h)
  local entry, found = entry_of(id, h), ''
  for class in ('sut'):gmatch('.') do
    if set_has(prefix .. ENDS .. class, entry) then found = found .. class end
  end
  return found
end

local answers = {}
for at = 1, #ARGV do
  local id = ARGV[at]
  local h = read_checked(id)
  local count = #answers
  answers[count + 1] = h or ''
  for place = 2, 6 do answers[count + place] = '' end
  if has_layout(h) then
    local letter, chain = sub(h, 41, 41), sub(h, 42, 57)
    local is_there
    if letter == NOWHERE then
      local lock = call('HGET', prefix .. LOCKS, id)
      is_there = lock and #lock == BYTES_OF_LOCK
    else
      is_there = set_has(prefix .. INDEX .. letter, id)
    end
    local ready = '.'
    if letter == OFFERED then
      ready = place_of_ready(id, h)
      -- enter_offered.lua has the rest of it.
      if ready == '-' and not is_held(h) and seen ~= 'all' and not (seen and not is_behind(id, seen)) then
        ready = ','
      end
    end
    answers[count + 2] = (is_there and '1' or '0') .. ready
    if chain ~= NO_CHAIN then answers[count + 3] = call('ZSCORE', prefix .. CHAIN .. chain, id) or '' end
    answers[count + 4] = call('ZSCORE', prefix .. DUE, id) or ''
    if letter == COMPLETED then answers[count + 5] = ends_of(id, h) end
    answers[count + 6] = missing_from(id, h)
  end
end
return answers
