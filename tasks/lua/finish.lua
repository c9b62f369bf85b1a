-- The attempt reports the job's end.
--: finish(id, attempt, token, ends_as, result, error, entry, lifetime, is_unknown,
--  what, wait, limit, left, reset, ends, most, share, probe, ago, answered, account)
-- `ends_as` is SUCCESS or FAILURE; `result`, `error` and `entry`, of its history, are JSON or ''; `lifetime` seconds,
-- `is_unknown` 1 if its outcome is. From `what` on it is what the gate is told, see `tell_gate`.
-- Returns 1, or 0 for a stale attempt, which changes nothing. Reporting twice is harmless. After a success for which
-- `recheck` has set `run_again` the job does not end, but goes back to wait.
local key = record(id)
if not is_latest(id, attempt, token) then return 0 end
local state = redis.call('HGET', key, 'state')
if state == ends_as then return 1 end
if state ~= 'STARTED' then return 0 end
tell_gate(id, what, wait, limit, left, reset, ends, most, share, probe, ago, answered, account)
redis.call('HDEL', key, 'result', 'error')
if result ~= '' then redis.call('HSET', key, 'result', result) end
if error ~= '' then redis.call('HSET', key, 'error', error) end
if is_unknown == '1' then redis.call('HSET', key, 'unknown', '1') end
remember(id, entry)
if ends_as == 'SUCCESS' and redis.call('HGET', key, 'run_again') == '1' and run_again(id) then
  redis.call('ZREM', RUNNING, id)
  return 1
end
settle(id, ends_as, lifetime)
return 1
