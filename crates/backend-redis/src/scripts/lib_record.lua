-- Changes of records: the common part of the scripts that write them, behind the
-- prelude, which has the layout.

-- The room that a record gets when it was too small, beside what it must hold.
local SPARE = 48
-- The longest report that stands in the record when the record is rewritten.
local MOST_OF_REPORT = 128
local REPORT_PART, CHECKPOINT_PART = 2, 4

-- `place` is the first byte of the body, from 0, or what the record says.
local function lengths(place, report) return struct.pack('>I2I2', place, report) end

-- Writes a record with more room in front of its body. The body is small: a large
-- one is in a key of its own. A report that is nil stays as it is.
-- Seldom: made where it is called.
local function rewrite(id, before_lengths, behind_lengths, report)
  local record = read_record(id)
  local high, low, kept_high, kept_low = byte(record, 60, 63)
  local place = high * 256 + low
  report = report or sub(record, place - kept_high * 256 - kept_low + 1, place)
  local new_place = #before_lengths + 4 + #behind_lengths + SPARE + #report
  call('SET', prefix .. RECORD .. id, before_lengths .. lengths(new_place, #report) .. behind_lengths
    .. ('\0'):rep(SPARE) .. report .. sub(record, place + 1))
end

-- Writes the fields up to the chain, the keys, and the header with its length.
-- `h` is the start of the record as it was.
local function write_h(id, h, fields, keys, header)
  local high, low, kept_high, kept_low = byte(h, 60, 63)
  local kept = kept_high * 256 + kept_low
  if 63 + #keys + #header + kept <= high * 256 + low then
    call('SETRANGE', prefix .. RECORD .. id, '0', fields .. sub(h, 58, 63) .. keys .. header)
  else
    rewrite(id, fields .. sub(h, 58, 59), keys .. header)
  end
end

-- Writes or removes parts that are in keys of their own, and returns the number
-- that says which are. A report that is nil is in the record or empty; a checkpoint
-- that is nil stays, and one that is '' is removed.
-- Seldom: made where it is called.
local function write_parts(id, parts, report, checkpoint)
  local key = prefix .. RECORD .. id
  local has_report, has_checkpoint = parts % 4 >= REPORT_PART, parts >= CHECKPOINT_PART
  if report then
    call('SET', key .. REPORT, report)
    if not has_report then parts = parts + REPORT_PART end
  elseif has_report then
    call('DEL', key .. REPORT)
    parts = parts - REPORT_PART
  end
  if checkpoint and checkpoint ~= '' then
    call('SET', key .. CHECKPOINT, checkpoint)
    if not has_checkpoint then parts = parts + CHECKPOINT_PART end
  elseif checkpoint and has_checkpoint then
    call('DEL', key .. CHECKPOINT)
    parts = parts - CHECKPOINT_PART
  end
  return parts
end

-- Likewise, with the report.
local function write_h_and_report(id, h, fields, keys, header, report, checkpoint)
  local parts, high, low = byte(h, 59, 61)
  local size = 63 + #keys + #header
  local spare = high * 256 + low - size - #report
  if spare < 0 and (spare + #report < 0 or #report <= MOST_OF_REPORT) then
    -- The record is too small for the header, or for a report that belongs there.
    local inside = #report <= MOST_OF_REPORT
    parts = write_parts(id, parts, not inside and report or nil, checkpoint)
    rewrite(id, fields .. sub(h, 58, 58) .. string.char(parts), keys .. header,
      inside and report or '')
    return
  end
  local outside
  if spare < 0 then
    outside, report, spare = report, '', 0
  end
  if parts > 0 or outside or checkpoint ~= '' then
    parts = write_parts(id, parts, outside, checkpoint)
  end
  call('SETRANGE', prefix .. RECORD .. id, '0', fields .. sub(h, 58, 58) .. string.char(parts)
    .. sub(h, 60, 61) .. struct.pack('>I2', #report) .. keys .. header
    .. ('\0'):rep(spare) .. report)
end
