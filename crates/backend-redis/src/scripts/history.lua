-- history: the header of an operation and the stored entries of its history, as
-- of one moment. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 id (16)
-- Returns {h, the entries}, or nothing if there is no such operation
local id = ARGV[1]
local h = read_h(id)
if not h then return false end
return { h, call('LRANGE', prefix .. RECORD .. id .. HISTORY, '0', '-1') }
