-- copy_pauses: replaces a partition's copy of the pauses, unless the copy is as
-- new or newer.
--
-- KEYS  [1] the copy: hash scope -> when its pause ends in ms, or 0
--       [2] the version of the copy: number
-- ARGV  1 the version, decimal
--       per pause, 2: scope (8), when it ends in ms, or 0
-- Returns 1 if it is written, else 0
local COPIED_AT_ONCE = 500
local held = redis.call('GET', KEYS[2])
if held and tonumber(held) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
for at = 2, #ARGV, 2 * COPIED_AT_ONCE do
  local last = math.min(at + 2 * COPIED_AT_ONCE - 1, #ARGV)
  redis.call('HSET', KEYS[1], unpack(ARGV, at, last))
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
