-- index_sizes: the number of operations of one partition in the states, and
-- with the keys, that a listing may be read from. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 the letters of the states' indexes, '-' for the locked operations
--       2 and further, in pairs: the name of a shelf, a hash (6)
-- Returns the number in these states, then the number per pair
local in_states = 0
for letter in ARGV[1]:gmatch('.') do
  if letter == NOWHERE then
    in_states = in_states + call('HLEN', prefix .. LOCKS)
  else
    in_states = in_states + set_size(prefix .. INDEX .. letter)
  end
end
local sizes = { in_states }
for at = 2, #ARGV, 2 do
  sizes[#sizes + 1] = size_of_further(ARGV[at], ARGV[at + 1])
end
return sizes
