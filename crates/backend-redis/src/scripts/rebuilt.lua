-- rebuilt: notes the place that the rebuild of an index has reached, if nothing
-- has changed it meanwhile. At its end, the index may be read again.
--
-- KEYS  [1] the rebuilds: hash letter -> place
--       [2] the indexes that no list reads: set of letters
-- ARGV  1 letter
--       2 the place as it was
--       3 the new place, or '' at the end
--       4 'r' if the index may be read at the end; else '-'
-- Returns 1 if it is noted, else 0
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  return 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[4] == 'r' then redis.call('SREM', KEYS[2], ARGV[1]) end
return 1
