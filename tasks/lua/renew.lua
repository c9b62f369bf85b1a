-- A live worker keeps the leases of what it runs. ARGV: worker, lease seconds, ids.
local kept = 0
for i = 3, #ARGV do
  local was = redis.call('HMGET', record(ARGV[i]), 'state', 'worker')
  if was[1] == 'STARTED' and was[2] == ARGV[1] then
    redis.call('ZADD', RUNNING, 'XX', stamp(now + tonumber(ARGV[2])), ARGV[i])
    kept = kept + 1
  end
end
return kept
