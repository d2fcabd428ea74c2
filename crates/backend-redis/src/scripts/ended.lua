-- ended: the operations of one class that have ended between two stamps, in the
-- order of the ends. Reads only.
--
-- KEYS  [1] the ends of the class: set of stamp (8) + id (lib_buckets.lua)
-- ARGV  1 the first stamp (8)
--       2 the stamp that is too late (8)
--       3 how many at most
-- Returns the stamps and ids (8 + 16 bytes each), earliest first
return table.concat(set_range(KEYS[1], '[' .. ARGV[1], '(' .. ARGV[2], tonumber(ARGV[3])))
