-- leave: removes a member. Behind lib_members.lua, which describes the keys.
--
-- ARGV  1 id
-- Returns nothing
remove(ARGV[1])
