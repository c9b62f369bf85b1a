-- The attempt failed and the job goes back to wait. ARGV: id, attempt, its token, delay seconds,
--   1 if its outcome is unknown, 1 if it uses up no attempt, waits in a row for the account,
--   error (JSON, or '' for the one that was), history entry (JSON), lifetime seconds, then what
--   the gate is told, see `tell_gate`.
-- Returns the new state, RETRY, or REVOKED if it was cancelled meanwhile, and what has just closed
-- the gate, if that has; nothing for a stale attempt.
local id, key = ARGV[1], record(ARGV[1])
if not is_latest(id, ARGV[2], ARGV[3]) then return false end
local was = redis.call('HMGET', key, 'state', 'cancelled')
if was[1] == 'RETRY' or was[1] == 'REVOKED' then return {was[1]} end
if was[1] ~= 'STARTED' then return false end
local news, gate = tell_gate(id, 11)
local told = ARGV[11]
if told == 'rejected' or told == 'refused' or told == 'own' then redis.call('HSET', key, 'refused_at', stamp(now)) end
-- While the gate is closed it says when, and no failure is the job's own. Where it is closed for one app
-- alone, others of its jobs are tried before this one.
local waits_for_gate = gate and closed(gate, now, app_of(id)) and (ARGV[6] == '1' or gate.broken_at)
local uses_none, delay, entry = ARGV[6] == '1', tonumber(ARGV[4]), ARGV[9]
if waits_for_gate then
  uses_none, delay = true, gate.only and math.min(delay, HELD_APP) or 0
  entry = cjson.decode(entry)
  entry.next_try_in = nil
  entry = cjson.encode(entry)
end
redis.call('ZREM', RUNNING, id)
redis.call('HSET', key, 'holds', ARGV[7])
if ARGV[8] ~= '' then redis.call('HSET', key, 'error', ARGV[8]) end
if ARGV[5] == '1' then redis.call('HSET', key, 'unknown', '1') end
if uses_none then redis.call('HINCRBY', key, 'attempts', -1) end
remember(id, entry)
if was[2] == '1' then
  settle(id, 'REVOKED', ARGV[10])
  return {'REVOKED', news}
end
redis.call('HSET', key, 'state', 'RETRY')
wait_until(id, now + delay)
return {'RETRY', news}
