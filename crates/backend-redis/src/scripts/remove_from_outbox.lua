-- remove_from_outbox: takes entries out of the outbox that the broker has
-- confirmed. An entry with another stamp is another entry, and stays.
--
-- KEYS  [1] the outbox: set of stamp (8) + id (lib_buckets.lua)
-- ARGV  the entries, 24 bytes each. At most 1,000.
-- Returns how many were taken out
return set_remove(KEYS[1], ARGV)
