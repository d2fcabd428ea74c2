-- report: writes the report of an operation, if the lock has this owner and fence.
--
-- KEYS  prelude.lua
-- ARGV  1 id (16)
--       2 owner (16), fence (8)
--       3 the report without its checkpoint, or '' if it is empty
--       4 the checkpoint, or '' if there is none
--       5 'c': write the checkpoint, or remove it; '-': leave it alone
-- Returns 1 if it is written, 0 if the caller does not hold the lock
local id, report = ARGV[1], ARGV[3]
local held = call('HGET', prefix .. LOCKS, id)
if not held or sub(held, 1, 24) ~= ARGV[2] then return 0 end
local h = read_h(id)
if not h then return 0 end

local organization = organization_of(h)
local before = organization and bytes_of_report(id, h)
local parts, high, low, kept_high, kept_low = byte(h, 59, 63)
local place = high * 256 + low
local inside = #header_in(h) + #keys_in(h) + KEYS_AT - 1 + #report <= place
local was = parts
parts = write_parts(id, parts, not inside and report or nil, ARGV[5] == 'c' and ARGV[4] or nil)
local kept = inside and #report or 0
if parts ~= was or kept ~= kept_high * 256 + kept_low then
  call('SETRANGE', prefix .. RECORD .. id, '58', string.char(parts) .. lengths(place, kept))
end
if kept > 0 then call('SETRANGE', prefix .. RECORD .. id, decimal(place - kept), report) end
if organization then
  change_usage(id, organization .. 'b', bytes_of_report(id, read_front(id)) - before)
  write_usage()
end
return 1
