-- use_queue: notes that an organization uses a queue, if it may use one more.
--
-- KEYS  1 the uses: zset ms -> hash of the organization (8) + queue
--       2 their places: zset without scores, with two members for each use:
--           'o' + hash of the organization (8) + queue
--           'q' + queue + '\0' + hash of the organization (8)
--       3 the most queues of an organization, as it was given last
-- ARGV  1 the hash of the organization (8)
--       2 the queue
--       3 the most queues of an organization; '' for the one that was given last
-- Returns 1, or 0 if there is no room
local organization, queue, limit = ARGV[1], ARGV[2], ARGV[3]
local use = organization .. queue
local kept = redis.call('GET', KEYS[3])
if limit == '' then
  limit = kept or ''
elseif limit ~= kept then
  redis.call('SET', KEYS[3], limit)
end
if not redis.call('ZSCORE', KEYS[1], use) then
  local all = 'o' .. organization
  -- The names of queues are ASCII.
  local count = redis.call('ZLEXCOUNT', KEYS[2], '[' .. all, '(' .. all .. '\255')
  if limit ~= '' and count >= tonumber(limit) then return 0 end
  redis.call('ZADD', KEYS[2], 0, 'o' .. use, 0, 'q' .. queue .. '\0' .. organization)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], ('%.0f'):format(now), use)
return 1
