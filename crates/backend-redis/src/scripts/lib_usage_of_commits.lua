-- Commits that are counted: the common part of commit.lua and transact.lua, behind
-- lib_usage.lua and lib_commit.lua.

-- The letter of the index of Completed operations.
local COMPLETED = ('3'):byte()

-- Makes a commit, as write() does, and counts what it changes.
local function write_counted(at, h, held)
  local id, codes = ARGV[at], ARGV[at + 1]
  local remove, _, reported, index = byte(codes, 8, 11)
  local was_completed = byte(h, 41) == COMPLETED
  local ends = not was_completed and index == COMPLETED
  local removes, reports = remove == REMOVE, reported ~= NO
  if not (removes or reports or ends) then return write(at, h, held) end
  local organization, is_series = organization_of(h)
  if not organization then return write(at, h, held) end

  local report, body = bytes_of_report(id, h), 0
  if removes or ends then body = bytes_of_body(id, h) end
  local answer, own, next_record = write(at, h, held)
  if removes then
    change_usage(id, organization .. 'b', -body - report)
    if was_completed then
      change_usage(id, 'c', -body - report)
    else
      count_open(id, organization, is_series, -1)
    end
    return answer, own, next_record
  end
  local before = report
  if reports then report = bytes_of_report(id, read_front(id)) end
  change_usage(id, organization .. 'b', report - before)
  if ends then
    count_open(id, organization, is_series, -1)
    change_usage(id, 'c', body + report)
  elseif was_completed then
    change_usage(id, 'c', report - before)
  end
  return answer, own, next_record
end
