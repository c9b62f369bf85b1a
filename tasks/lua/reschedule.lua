-- The attempt failed and the job goes back to wait.
--: reschedule(id, attempt, token, delay, is_unknown, is_free, holds, error, entry, lifetime,
--  what, wait, limit, left, reset, ends, most, share, probe, ago, answered, account)
-- `delay` and `lifetime` are seconds; `is_unknown` 1 if its outcome is, `is_free` 1 if it uses up no attempt; `holds` waits
-- in a row for the account; `error` JSON, or '' for the one that was; `entry` JSON, of its history. From `what` on it is
-- what the gate is told, see `tell_gate`.
-- Returns the new state, RETRY, or REVOKED if it was cancelled meanwhile, and what has just closed
-- the gate, if that has; nothing for a stale attempt.
local key = record(id)
if not is_latest(id, attempt, token) then return false end
local was = redis.call('HMGET', key, 'state', 'cancelled')
if was[1] == 'RETRY' or was[1] == 'REVOKED' then return {was[1]} end
if was[1] ~= 'STARTED' then return false end
local news, gate = tell_gate(id, what, wait, limit, left, reset, ends, most, share, probe, ago, answered, account)
if what == 'rejected' or what == 'refused' or what == 'own' then redis.call('HSET', key, 'refused_at', stamp(now)) end
-- While the gate is closed it says when, and no failure is the job's own. Where it is closed for one app
-- alone, others of its jobs are tried before this one.
local waits_for_gate = gate and closed(gate, now, app_of(id)) and (is_free == '1' or gate.broken_at)
local uses_none = is_free == '1'
delay = tonumber(delay)
if waits_for_gate then
  uses_none, delay = true, gate.only and math.min(delay, HELD_APP) or 0
  entry = cjson.decode(entry)
  entry.next_try_in = nil
  entry = cjson.encode(entry)
end
redis.call('ZREM', RUNNING, id)
redis.call('HSET', key, 'holds', holds)
if error ~= '' then redis.call('HSET', key, 'error', error) end
if is_unknown == '1' then redis.call('HSET', key, 'unknown', '1') end
if uses_none then redis.call('HINCRBY', key, 'attempts', -1) end
remember(id, entry)
if was[2] == '1' then
  settle(id, 'REVOKED', lifetime)
  return {'REVOKED', news}
end
redis.call('HSET', key, 'state', 'RETRY')
wait_until(id, now + delay)
return {'RETRY', news}
