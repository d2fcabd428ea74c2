-- Commits that are counted: the common part of commit.lua and transact.lua, behind
-- lib_usage.lua and lib_commit.lua.

-- A chain is counted with its head: the next one takes its place, if there is one that is
-- counted. An operation of an earlier build is not.
function usage.count_next_head(id, organization, second)
  if organization then usage.change(id, organization .. 't', -1) end
  local h = second and read_front(second)
  -- A record that was damaged is no reason to refuse a commit.
  local of_second = h and byte(h, 66) and usage.organization_of(h)
  if of_second then usage.change(second, of_second .. 't', 1) end
end

-- Makes a commit, as write() does, and counts what it changes.
local function write_counted(at, h, held)
  local id, codes = ARGV[at], ARGV[at + 1]
  local organization, is_series = usage.organization_of(h)
  local chain, remove, reported = byte(codes, 3), byte(codes, 8), byte(codes, 10)
  -- The index of Completed operations.
  local was_completed = sub(h, 41, 41) == '3'
  local ends = not was_completed and sub(codes, 11, 11) == '3'
  local removes, reports, leaves = remove == REMOVE, reported ~= NO, chain == LEAVE
  local chained = sub(h, 42, 57)
  if leaves and chained ~= NO_CHAIN then
    local head, second = unpack(call('ZRANGE', CHAIN .. chained, '0', '1'))
    if head == id then usage.count_next_head(id, organization, second) end
  end
  if not organization or not (removes or reports or ends) then return write(at, h, held) end

  local report, body = usage.bytes_of_report(id, h), 0
  if removes or ends then body = usage.bytes_of_body(id, h) end
  local answer, own, next_record = write(at, h, held)
  if removes then
    usage.change(id, organization .. 'b', -body - report)
    if was_completed then
      usage.change(id, 'c', -body - report)
    else
      usage.count_open(id, organization, is_series, -1)
    end
    return answer, own, next_record
  end
  local before = report
  if reports then report = usage.bytes_of_report(id, read_front(id)) end
  usage.change(id, organization .. 'b', report - before)
  if ends then
    usage.count_open(id, organization, is_series, -1)
    usage.change(id, 'c', body + report)
  elseif was_completed then
    usage.change(id, 'c', report - before)
  end
  return answer, own, next_record
end
