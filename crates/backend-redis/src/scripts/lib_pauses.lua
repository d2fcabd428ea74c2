-- Pauses: the common part of create.lua, commit.lua, transact.lua and
-- release_held.lua, behind the prelude.
--
-- A scope is a key of 8 bytes, whose first bit is set. A partition has
--       pauses        hash scope -> when its pause ends in ms, or 0. A copy that
--                     copy_pauses.lua writes; absent if there are no pauses
--       held          set of scope + id (lib_buckets.lua): operations that are
--                     Ready, would be offered, and are held
-- An operation that is held has the scope in the place of its last stamp in `h`.
-- So entry_of() is its entry in the held set, and no other read tells it.

-- True if a partition has pauses, by partition.
local has_pauses = {}
local now_ms

-- Returns the first of these scopes that is paused; or nil. One command finds
-- out that a partition has no pauses, once in a script.
local function paused_scope(scopes)
  if scopes == '' then return nil end
  local any = has_pauses[place]
  if any == nil then
    any = call('EXISTS', prefix .. PAUSES) == 1
    has_pauses[place] = any
  end
  if not any then return nil end
  local keys = {}
  for at = 1, #scopes, 8 do keys[#keys + 1] = sub(scopes, at, at + 7) end
  for at, ends in ipairs(call('HMGET', prefix .. PAUSES, unpack(keys))) do
    if ends == '0' then return keys[at] end
    if ends then
      if not now_ms then
        local time = call('TIME')
        now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
      end
      if tonumber(ends) > now_ms then return keys[at] end
    end
  end
  return nil
end

-- Seldom: made where it is called.
local function add_to_held(id, scope) add_later(id, HELD, scope .. id) end

-- Holds an operation, unless a scope that is paused holds it already.
-- Seldom: made where it is called.
local function hold(id, h, scope)
  if is_held(h) and paused_scope(place_of(h)) then return end
  remove_offer(id, h)
  add_to_held(id, scope)
  write_place(id, scope)
end
