-- check_sets: looks at entries of the sets of one partition, and returns those that do
-- not belong there, with those that the caller must judge by the header. Removes the
-- former if that is wanted; otherwise it reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 'r' to repair; else '-'
--       2 how many entries to look at
--       3 the set to begin with: its place among those that follow, from 1
--       4 the place in that set, or '' for its start
--       5 and further: the sets, each as a letter and, for some, a name:
--            s the index of a state        x a further index      e the ends of a class
--            o the outbox   f the offered set   h the held set
--            d the due set  n the notices       l the locks
-- Returns the set to go on with, 0 at the end; the place in it; how many were looked at;
--         then per entry, 4: the set; the entry; r removed, '-' to be removed, or j: to
--         be judged by the header; the record up to its body, or '' if there is none
local repairs, most = ARGV[1] == 'r', tonumber(ARGV[2])
local FIRST = 4

local function set_of(code, name)
  if code == 's' or code == 'x' then return INDEX .. name end
  if code == 'e' then return ENDS .. name end
  return ({ o = OUTBOX, f = OFFERED_SET, h = HELD, d = DUE, n = NOTICES, l = LOCKS })[code]
end

-- Every second value of a list.
local function names_in(pairs_of)
  local found = {}
  for at = 1, #pairs_of, 2 do found[#found + 1] = pairs_of[at] end
  return found
end

-- Returns some entries from a place on, and the place behind them, '' at the end.
local function page(code, key, from, count)
  if code == 'd' or code == 'n' then
    local answer = call('ZSCAN', key, from == '' and '0' or from, 'COUNT', decimal(count))
    return names_in(answer[2]), answer[1] == '0' and '' or answer[1]
  end
  if code == 'l' then
    local answer = call('HSCAN', key, from == '' and '0' or from, 'COUNT', decimal(count))
    return names_in(answer[2]), answer[1] == '0' and '' or answer[1]
  end
  local found = set_range(key, from == '' and '-' or '(' .. from, '+', count)
  return found, #found < count and '' or found[#found]
end

local function is_of_index(name, hash, h)
  local kind, keys = sub(name, 1, 1), keys_in(h)
  if kind == TOKEN then return sub(h, CHAIN_AT, CHAIN_AT + HASH - 1) == hash end
  for at = 4, #keys, KEY do
    if sub(keys, at, at) == kind and sub(keys, at + 1, at + HASH) == hash then
      return index_name(kind, keys) == name
    end
  end
  return false
end

-- Returns true if the entry of a record with the layout belongs where it is.
local function belongs(code, name, entry, id, h)
  local letter = sub(h, 41, 41)
  if code == 's' then return letter == name end
  if code == 'l' then return letter == NOWHERE end
  if code == 'n' then return letter == COMPLETED end
  if code == 'x' then return is_of_index(name, sub(entry, 1, HASH), h) end
  if letter ~= OFFERED or not travels(id, h) then return false end
  if code == 'h' then return is_held(h) and entry == entry_of(id, h) end
  if is_held(h) then return false end
  if code == 'o' then return entry == outbox_entry_of(id, h) end
  -- An entry of the outbox leads to the same, and loses nothing.
  return entry == flow_of(h) .. id and not set_has(prefix .. OUTBOX, outbox_entry_of(id, h))
end

local function remove(code, set_name, entry, id)
  if code == 'd' or code == 'n' then
    call('ZREM', prefix .. set_name, entry)
  elseif code == 'l' then
    call('HDEL', prefix .. set_name, entry)
  else
    remove_later(id, set_name, entry, code == 'x' or code == 'f' or code == 'e')
  end
end

local at, from, looked = tonumber(ARGV[3]), ARGV[4], 0
local answers = { 0, '', 0 }
while ARGV[FIRST + at] and looked < most do
  local set = ARGV[FIRST + at]
  local code, name = sub(set, 1, 1), sub(set, 2)
  local set_name, entries = set_of(code, name), {}
  -- The entries of an index that is switched off leave it in the course of a rebuild.
  if code == 'x' and kinds_off()[sub(name, 1, 1)] then
    from = ''
  else
    entries, from = page(code, prefix .. set_name, from, most - looked)
  end
  for _, entry in ipairs(entries) do
    local id = sub(entry, -16)
    local h = read_checked(id)
    local verdict
    if not h then
      verdict = '-'
    elseif h == NO_RECORD then
      verdict = nil
    elseif code == 'd' or code == 'e' then
      verdict = 'j'
    elseif not belongs(code, name, entry, id, h) then
      verdict = '-'
    end
    if verdict == '-' and repairs then
      remove(code, set_name, entry, id)
      verdict = 'r'
    end
    if verdict then
      local count = #answers
      answers[count + 1], answers[count + 2] = set, entry
      answers[count + 3], answers[count + 4] = verdict, h or ''
    end
  end
  looked = looked + #entries
  if from == '' then
    at = at + 1
  elseif #entries == 0 then
    -- A scan that found nothing in its part of the table: the next step goes on there.
    break
  end
end
write_gathered()
if ARGV[FIRST + at] then
  answers[1], answers[2] = at, from
end
answers[3] = looked
return answers
