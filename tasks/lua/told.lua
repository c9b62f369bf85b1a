-- The outcome of this job was told. ARGV: id, the failure that Sentry heard of ('' for none).
redis.call('ZREM', UNTOLD, ARGV[1])
if ARGV[2] ~= '' and redis.call('EXISTS', record(ARGV[1])) == 1 then
  redis.call('HSET', record(ARGV[1]), 'alerted', ARGV[2])
end
return 1
