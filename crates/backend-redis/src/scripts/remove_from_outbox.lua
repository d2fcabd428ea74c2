-- remove_from_outbox: moves entries that the broker has confirmed from the outbox
-- to the offered set. An entry with another stamp than the operation's last offer
-- is another entry, and stays. May be repeated.
--
-- KEYS  prelude.lua
-- ARGV  per entry, 2: the partition's place in KEYS; stamp (8) and id (16). Those of
--       one partition stand together
-- Returns how many operations had such a last offer
local count = 0
for at = 1, #ARGV, 2 do
  turn_to(ARGV[at])
  local entry = ARGV[at + 1]
  local id = sub(entry, 9)
  settle(id)
  local h = read_front(id)
  -- Parked operations have no stamp, and that of a held one is a scope.
  if h and sub(h, 41, 41) == OFFERED and place_of(h) == sub(entry, 1, 8) then
    move_to_offered(id, h)
    count = count + 1
  end
end
write_gathered()
return count
