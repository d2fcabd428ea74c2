-- newest: the newest ids of several indexes of one partition, and the locked
-- ids, as of one moment: an operation that moves from one index to another
-- meanwhile is neither missed nor doubled. Reads only.
--
-- KEYS  [1] the locks: hash id -> lock
--       [2] and further: the indexes: set of ids (lib_buckets.lua)
-- ARGV  1 the newest id: '(' + id, exclusive, or '+' for the very newest
--       2 the oldest: '[' + bytes, or '-' for the very oldest
--       3 how many of each index
--       4 'l': the locked ids, too
-- Returns all locked ids, in no order, or ''; then per index its ids,
--         newest first (16 bytes each)
local most = tonumber(ARGV[3])
local answers = { ARGV[4] == 'l' and table.concat(redis.call('HKEYS', KEYS[1])) or '' }
for at = 2, #KEYS do
  answers[at] = table.concat(set_range_down(KEYS[at], ARGV[1], ARGV[2], most))
end
return answers
