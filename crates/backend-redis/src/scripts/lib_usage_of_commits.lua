-- Commits that are counted: the common part of commit.lua and transact.lua, behind
-- lib_usage.lua and lib_commit.lua.

-- Makes a commit, as write() does, and counts what it changes.
local function write_counted(at, h, held)
  local id, codes = ARGV[at], ARGV[at + 1]
  local organization, is_series = usage.organization_of(h)
  local remove, reported = byte(codes, 8), byte(codes, 10)
  -- The index of Completed operations.
  local was_completed = sub(h, 41, 41) == '3'
  local ends = not was_completed and sub(codes, 11, 11) == '3'
  local removes, reports = remove == REMOVE, reported ~= NO
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
