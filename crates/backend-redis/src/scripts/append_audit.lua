-- append_audit: adds entries to the audit stream, once for each batch.
--
-- KEYS  [1] the stream: each entry has one field, e
--       [2] string: stands for the batch once it was added; expires
-- ARGV  1 the number of entries that stay
--       2 milliseconds for which the batch is remembered
--       3… the entries
-- Returns 1 if the entries were added, or 0 if the batch was added before
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
for at = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', 'e', ARGV[at])
end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return 1
