-- check_leftover: whether a part of an operation is there without its record. Removes it
-- if that is wanted; otherwise it reads only.
--
-- KEYS  [1] the record; [2] the part
-- ARGV  1 'r' to repair; else '-'
-- Returns 1 if the part is, or was, there without its record; else 0
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if ARGV[1] == 'r' then redis.call('DEL', KEYS[2]) end
return 1
