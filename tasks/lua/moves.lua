-- What several steps do with a job.
-- `how` as `line_up` takes it, for a job that is due at once.
local function wait_until(id, due, how)
  redis.call('HSET', record(id), 'due_at', stamp(due))
  redis.call('ZADD', WAITING, stamp(due), id)
  if tonumber(stamp(due)) > now then return end
  line_up(id, how or 'back')
  wake_dispatcher()
end

-- The job has ended. Failed ones stay until pruned, the others for their lifetime, and without their
-- password, which nobody needs any more.
local function settle(id, state, lifetime)
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', PUBLISHED, id)
  redis.call('ZREM', RUNNING, id)
  redis.call('ZREM', EXPIRING, id)
  redis.call('HSET', record(id), 'state', state, 'ended_at', stamp(now))
  redis.call('HDEL', record(id), 'due_at')
  if state == 'FAILURE' then
    redis.call('ZADD', FAILED, stamp(now), id)
  else
    redis.call('EXPIRE', record(id), lifetime)
    redis.call('DEL', sealed_key(id))
  end
  redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id)
  end_in_chain(id, lifetime)
end

-- What an attempt is told that asks, before a call, whether it still holds its job: 'held', its lease being
-- prolonged; 'lost' if the job is another attempt's or has ended; or 'cancelled', if it is to obey that still.
local function fence(id, attempt, token, lease, obeys)
  local was = redis.call('HMGET', record(id), 'state', 'attempt', 'token', 'cancelled')
  if was[1] ~= 'STARTED' or was[2] ~= attempt or was[3] ~= token then return 'lost' end
  if was[4] == '1' and obeys == '1' then return 'cancelled' end
  redis.call('ZADD', RUNNING, 'XX', 'GT', stamp(now + tonumber(lease)), id)
  return 'held'
end

-- A job that succeeded runs again in its place, as what it did may have been undone; false if it cannot.
local function run_again(id)
  local key = record(id)
  local was = redis.call('HMGET', key, 'expires_at', 'mark')
  if tonumber(was[1] or now + 1) <= now or was[2] and redis.call('EXISTS', sealed_key(id)) == 0 then return false end
  redis.call('ZREM', UNTOLD, id)
  redis.call('PERSIST', key)
  redis.call('HDEL', key, 'ended_at', 'run_again', 'cancelled')
  redis.call('HSET', key, 'state', 'RETRY', 'unknown', '1')
  if was[1] then redis.call('ZADD', EXPIRING, was[1], id) end
  wait_until(id, now)
  return true
end

-- It has waited its time already, and goes before all that wait; no backlog is older than so many
-- seconds.
local AHEAD = 366 * 86400
local function put_first(id)
  local since = tonumber(redis.call('HGET', record(id), 'created_at') or now)
  redis.call('ZADD', WAITING, stamp(since - AHEAD), id)
  line_up_first(id, since)
  wake_dispatcher()
end

-- A running job whose attempt will not report goes back, unless it was cancelled meanwhile.
-- A call of that attempt may go on for `call_seconds`.
local function give_up_attempt(id, outcome, words, delay, lifetime, call_seconds)
  if redis.call('EXISTS', record(id)) == 0 then return redis.call('ZREM', RUNNING, id) end
  remember_lost(id, outcome, words)
  redis.call('HSET', record(id), 'unknown', '1')
  if tonumber(call_seconds) > 0 then redis.call('HSET', record(id), 'quiet_until', stamp(now + call_seconds)) end
  redis.call('ZREM', RUNNING, id)
  if redis.call('HGET', record(id), 'cancelled') == '1' then
    settle(id, 'REVOKED', lifetime)
  else
    redis.call('HSET', record(id), 'state', 'RETRY')
    redis.call('ZADD', UNTOLD, stamp(now), id) -- it may have been told as STARTED, and nobody reports
    wait_until(id, now + delay)
    if delay == 0 then put_first(id) end
  end
end
