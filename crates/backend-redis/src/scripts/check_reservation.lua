-- check_reservation: whether an idempotency key stands for an operation that is not
-- there and was not removed. Removes the reservation if that is wanted; otherwise it
-- reads only.
--
-- KEYS  [1] the reservation; [2] the record; [3] the tombstone, unless the caller has looked
--       at these: they may be on another server
-- ARGV  1 'r' to repair; else '-'
--       2 the reservation's content, as it was seen
-- Returns 1 if it is so, else 0
if #KEYS > 1 and redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return 0 end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
if ARGV[1] == 'r' then redis.call('DEL', KEYS[1]) end
return 1
