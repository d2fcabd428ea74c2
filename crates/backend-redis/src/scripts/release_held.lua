-- release_held: moves operations whose scope is not paused any more from the
-- held set to the outbox, scope by scope, in order of creation. An operation
-- that another pause holds is held again by its claim.
--
-- KEYS  prelude.lua; then the number of changes
-- ARGV  1 the scope (8) behind which to start, or '' for the first
--       2 how many at most
-- Returns {how many left the held set, the scope behind which to go on, or ''}
local MOST_SCOPES = 64
local LAST_ID = ('\255'):rep(16)
local limit = tonumber(ARGV[2])
most = limit

local from = ARGV[1] == '' and '-' or '(' .. ARGV[1] .. LAST_ID
local count, scopes = 0, 0
while count < limit do
  local first = set_range(prefix .. HELD, from, '+', 1)[1]
  if not first then break end
  local scope = sub(first, 1, 8)
  if paused_scope(scope) then
    scopes = scopes + 1
    if scopes >= MOST_SCOPES then return { count, scope } end
    from = '(' .. scope .. LAST_ID
  else
    for _, entry in ipairs(set_range(prefix .. HELD, '[' .. scope, '[' .. scope .. LAST_ID, limit - count)) do
      local id = sub(entry, 9)
      remove_later(id, HELD, entry)
      local h = read_front(id)
      if h and place_of(h) == scope then
        local chain = sub(h, 42, 57)
        local travels = chain == NO_CHAIN or call('ZRANGE', prefix .. CHAIN .. chain, '0', '0')[1] == id
        if sub(h, 41, 41) == OFFERED and travels then
          put_on_offer(id, h, tick())
        else
          write_place(id, NO_STAMP)
        end
      end
      count = count + 1
    end
    write_gathered()
    call('INCRBY', KEYS[#KEYS], '1')
  end
end
return { count, '' }
