-- Tries every command that the scripts run, on keys that nothing else uses, and
-- removes these.
--
-- KEYS  1 the beginning of the keys
-- ARGV  1 the channel of completions
-- Answers with a name and a reason for each command that the user may not run.

local missing = {}

local function try(name, ...)
	local answer = redis.pcall(name, ...)
	if type(answer) == 'table' and answer.err then
		missing[#missing + 1] = name
		missing[#missing + 1] = answer.err
	end
end

local text, list, zset = KEYS[1] .. 'text', KEYS[1] .. 'list', KEYS[1] .. 'zset'
local hash, members, number = KEYS[1] .. 'hash', KEYS[1] .. 'set', KEYS[1] .. 'number'
local stream = KEYS[1] .. 'stream'

try('TIME')
try('SET', text, 'x')
try('GET', text)
try('SETRANGE', text, 0, 'y')
try('GETRANGE', text, 0, 0)
try('STRLEN', text)
try('MGET', text)
try('EXISTS', text)
try('EXPIRE', text, 10)
try('PEXPIRE', text, 1000)
try('PEXPIREAT', text, '9999999999999')
try('INCRBY', number, 1)
try('RPUSH', list, 'x')
try('LSET', list, 0, 'y')
try('LINDEX', list, 0)
try('LRANGE', list, 0, 0)
try('HSET', hash, 'x', 1)
try('HINCRBY', hash, 'x', 1)
try('HGET', hash, 'x')
try('HMGET', hash, 'x')
try('HGETALL', hash)
try('HKEYS', hash)
try('HLEN', hash)
try('HEXISTS', hash, 'x')
try('HSCAN', hash, 0)
try('HDEL', hash, 'x')
try('SADD', members, 'x')
try('SMEMBERS', members)
try('SREM', members, 'x')
try('ZADD', zset, 0, 'x')
try('ZCARD', zset)
try('ZSCAN', zset, 0)
try('SCAN', 0, 'COUNT', 1)
try('ZSCORE', zset, 'x')
try('ZRANK', zset, 'x')
try('ZRANGE', zset, 0, 0)
try('ZREVRANGE', zset, 0, 0)
try('ZRANGEBYSCORE', zset, 0, 0)
try('ZRANGEBYLEX', zset, '-', '+')
try('ZREVRANGEBYLEX', zset, '+', '-')
try('ZLEXCOUNT', zset, '-', '+')
try('ZREMRANGEBYSCORE', zset, 1, 1)
try('ZREMRANGEBYRANK', zset, 1, 1)
try('ZREM', zset, 'x')
try('RENAME', text, KEYS[1] .. 'renamed')
try('XADD', stream, '*', 'e', 'x')
try('XREVRANGE', stream, '+', '-')
try('PUBLISH', ARGV[1], '')
try('DEL', text, KEYS[1] .. 'renamed', number, list, hash, members, zset, stream)
return missing
