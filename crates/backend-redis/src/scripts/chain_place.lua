-- chain_place: the place of an operation in its chain. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 id (16)
--       2 the most neighbours before it that are returned
--       3 the most neighbours behind it
-- Returns the number of operations before it, the length of the chain, its head
--         (16), and the neighbours with the operation itself among them (16 each);
--         or nothing if there is no such operation, or it is in no chain
local h = read_front(ARGV[1])
local chain = h and sub(h, 42, 57)
if not chain or chain == NO_CHAIN then return {} end
local key = prefix .. CHAIN .. chain
local before = call('ZRANK', key, ARGV[1])
if not before then return {} end
local first, last = math.max(before - ARGV[2], 0), before + ARGV[3]
return {
  before, call('ZCARD', key), call('ZRANGE', key, '0', '0')[1],
  table.concat(call('ZRANGE', key, first, last)),
}
