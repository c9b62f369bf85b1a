-- A worker takes a job that is due. Its attempt number fences off every older attempt.
-- ARGV: id, worker, token of this delivery, lease seconds.
-- Returns the record, or nothing if there is nothing to claim.
local id, key = ARGV[1], record(ARGV[1])
local hinted = redis.call('ZSCORE', PUBLISHED, id)
local due = redis.call('ZSCORE', WAITING, id)
local is_due = hinted or (due and tonumber(due) <= now)
if is_left_alone(id) then
  -- Out of the pipe, where it would take the place of others.
  if is_due then
    redis.call('ZREM', PUBLISHED, id)
    redis.call('ZADD', WAITING, stamp(now + LATER), id)
  end
  return false
end
if not is_due then
  -- The answer to this very claim was lost, and it is asked again: the same answer.
  local was = redis.call('HMGET', key, 'state', 'token')
  if was[1] == 'STARTED' and was[2] == ARGV[3] then return redis.call('HGETALL', key) end
  return false
end
redis.call('ZREM', PUBLISHED, id)
redis.call('ZREM', WAITING, id)
if redis.call('EXISTS', key) == 0 then return false end
redis.call('ZADD', RUNNING, stamp(now + tonumber(ARGV[4])), id)
redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSETNX', key, 'first_attempt_at', stamp(now))
redis.call('HSET', key, 'state', 'STARTED', 'started_at', stamp(now), 'worker', ARGV[2],
  'token', ARGV[3])
redis.call('HDEL', key, 'due_at')
return redis.call('HGETALL', key)
