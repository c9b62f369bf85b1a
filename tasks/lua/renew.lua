-- A live worker keeps the leases of what it runs.
--: renew(worker, lease, seconds, ids...)
-- Returns {id, attempt} of those that it has been running for so many `seconds`.
local long = {}
for _, id in ipairs(ids) do
  local was = {}
  if not is_left_alone(id) then
    was = redis.call('HMGET', record(id), 'state', 'worker', 'started_at', 'attempt')
  end
  if was[1] == 'STARTED' and was[2] == worker then
    redis.call('ZADD', RUNNING, 'XX', stamp(now + tonumber(lease)), id)
    if (tonumber(was[3]) or now) + tonumber(seconds) <= now then long[#long + 1] = {id, was[4]} end
  end
end
return long
