-- A live worker keeps the leases of what it runs. ARGV: worker, lease seconds, seconds, ids.
-- Returns {id, attempt} of those that it has been running for so many seconds.
-- Redis refuses a script's first write when its memory is full, unless that write needs none.
redis.call('DEL', KEYS[1] .. 'nothing')
local long = {}
for i = 4, #ARGV do
  local was = {}
  if not is_left_alone(ARGV[i]) then
    was = redis.call('HMGET', record(ARGV[i]), 'state', 'worker', 'started_at', 'attempt')
  end
  if was[1] == 'STARTED' and was[2] == ARGV[1] then
    redis.call('ZADD', RUNNING, 'XX', stamp(now + tonumber(ARGV[2])), ARGV[i])
    if (tonumber(was[3]) or now) + tonumber(ARGV[3]) <= now then long[#long + 1] = {ARGV[i], was[4]} end
  end
end
return long
