-- last_offer: the last offer of an operation. Reads only.
--
-- KEYS  prelude.lua
-- ARGV  1 id (16)
-- Returns its stamp (8) and 1 if the entry is in the outbox, else 0 (1 byte);
--         or '' if there is no such operation, or a pause holds it
local h = read_front(ARGV[1])
if not h or is_held(h) then return '' end
return sub(h, 33, 40) .. (stamp_in_outbox(ARGV[1], h) and '1' or '0')
