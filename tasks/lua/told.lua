-- The outcomes of these jobs were told. ARGV: the failure that Sentry heard of ('' for none), ids.
for i = 2, #ARGV do
  redis.call('ZREM', UNTOLD, ARGV[i])
  if ARGV[1] ~= '' and redis.call('EXISTS', record(ARGV[i])) == 1 then
    redis.call('HSET', record(ARGV[i]), 'alerted', ARGV[1])
  end
end
return 1
