-- Members: the common part of beat.lua and leave.lua. lib_members_changes.lua has the
-- changes, behind what a beat does that changes nothing.
--
-- KEYS  [1] the last beats: zset ms -> id
--       [2] the reports: hash id (16) -> digest of the profile (8) + the rest of
--           the report
--       [3] the numbers of running operations: hash id -> number
--       [4] the roster: zset version -> id + digest; one for each live member
--       [5] the members that have left: zset version -> id; the latest 1,000
--       [6] the profiles: hash digest -> number of members with it (4) + profile
--       [7] the version: the last one that was given out
--       [8] the members that were asked to drain: hash id -> the ms of the request
-- Each change of the roster has a version, and versions only grow. So a reader
-- that knows the roster of one version is answered with what has changed since,
-- and with nothing while nothing changes.
local call = redis.call
local BEATS, REPORTS, RUNNING, ROSTER, LEFT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local PROFILES, VERSION, DRAINS = KEYS[6], KEYS[7], KEYS[8]
local DIGEST, MOST_LEFT = 8, 1000

local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local function decimal(number) return string.format('%.0f', number) end
