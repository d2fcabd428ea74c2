-- created_since: about how many operations of one partition were created at or after a
-- time, of those that are not locked. Reads only.
--
-- KEYS  1 the prefix of the indexes of the states
-- ARGV  1 the first bytes of the ids of that time
local count = 0
for letter in ('013'):gmatch('.') do
  count = count + set_count(KEYS[1] .. letter, '[' .. ARGV[1], '[' .. ('\255'):rep(16))
end
return math.floor(count)
