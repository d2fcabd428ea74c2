-- The flows in a set whose members begin with them: the common part of
-- outbox_entries.lua and runnable.lua, behind the prelude.
--
-- Members without a flow come first. Their flow is zeros here.
local NO_FLOW = ('\0'):rep(6)
local FIRST_FLOW = '[\128'
local LAST = ('\255'):rep(25)

-- The bytes with which the members of a flow begin.
local function bytes_of_flow(flow) return flow == NO_FLOW and '' or flow end

-- Returns the flows that have members, from behind `after` (a flow, or '') or from
-- the start of a range, `after`, on up to `to`: at most `most`, each with its first
-- member. The second value is the start of the rest; nil if there is none.
local function flows_in(key, after, to, most)
  local function behind(flow)
    return flow == NO_FLOW and FIRST_FLOW or '(' .. flow .. LAST
  end
  local start = after == '' and '-' or (#after == 6 and behind(after) or after)
  local flows = {}
  while #flows < most do
    local member = set_range(key, start, to, 1)[1]
    if not member then return flows end
    local flow = byte(member) >= 128 and sub(member, 1, 6) or NO_FLOW
    flows[#flows + 1] = { flow, member }
    start = behind(flow)
  end
  return flows, start
end
