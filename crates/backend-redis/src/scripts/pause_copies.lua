-- pause_copies: the versions of several partitions' copies of the pauses, and how many
-- operations are held there. Reads only.
--
-- KEYS  per partition, 2: the version of the copy; the held set, of lib_buckets.lua
-- Returns per partition, 2: the version, 0 if there is no copy; the number
local found = {}
for at = 1, #KEYS, 2 do
  found[at] = tonumber(set_call('GET', KEYS[at]) or 0)
  found[at + 1] = set_size(KEYS[at + 1])
end
return found
