-- Ended jobs are taken up again, but for those that a later job of their webhook came after.
--: retry(how, due, spacing, ids...) grows
-- `how` is 'fresh' (a person asks: all attempts anew), 'last' (the same, behind later jobs) or 'once' (beat asks: one
-- more attempt, unless the job was cancelled during its last one); the first is `due` then (unix; at once if it is over),
-- each of the others `spacing` seconds later.
-- Returns for each its state afterwards ('' if none).
local outcomes, first = {}, math.max(now, tonumber(due))
for i, id in ipairs(ids) do
  local key = record(id)
  local was = redis.call('HMGET', key, 'state', 'cancelled', 'expires_at', 'mark')
  local state = was[1]
  local takes = state == 'FAILURE' and was[2] ~= '1'
  if how ~= 'once' then takes = state == 'FAILURE' or state == 'REVOKED' end
  -- A cancelled job's password was erased.
  if was[4] and redis.call('EXISTS', sealed_key(id)) == 0 then takes = false end
  if takes and (how == 'last' or not is_followed(id)) then
    redis.call('ZREM', FAILED, id)
    redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id)
    redis.call('PERSIST', key)
    redis.call('HDEL', key, 'ended_at', 'cancelled')
    if how ~= 'once' then
      redis.call('HDEL', key, 'error', 'first_attempt_at', 'holds', 'alerted', 'alerting', 'refused_at')
      redis.call('HSET', key, 'attempts', '0')
      state = 'PENDING'
    else
      state = 'RETRY'
    end
    redis.call('HSET', key, 'state', state)
    if was[3] then redis.call('ZADD', EXPIRING, was[3], id) end
    rejoin(id)
    local due = first + (i - 1) * tonumber(spacing)
    wait_until(id, due, 'new')
    local held = held_until(id)
    if held then redis.call('ZADD', WAITING, stamp(math.max(due, held)), id) end
  end
  outcomes[#outcomes + 1] = state or ''
end
return outcomes
