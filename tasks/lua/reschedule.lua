-- The attempt failed and the job goes back to wait. ARGV: id, attempt, delay seconds,
--   1 if its outcome is unknown, 1 if it uses up no attempt, waits in a row for the account,
--   error (JSON), history entry (JSON), lifetime seconds.
-- Returns the new state: RETRY, or REVOKED if it was cancelled meanwhile; nothing for a stale attempt.
local id, key = ARGV[1], record(ARGV[1])
local was = redis.call('HMGET', key, 'attempt', 'state', 'cancelled')
if was[1] ~= ARGV[2] then return false end
if was[2] == 'RETRY' or was[2] == 'REVOKED' then return was[2] end
if was[2] ~= 'STARTED' then return false end
redis.call('ZREM', RUNNING, id)
redis.call('HSET', key, 'error', ARGV[7], 'holds', ARGV[6])
if ARGV[4] == '1' then redis.call('HSET', key, 'unknown', '1') end
if ARGV[5] == '1' then redis.call('HINCRBY', key, 'attempts', -1) end
remember(id, ARGV[8])
if was[3] == '1' then
  settle(id, 'REVOKED', ARGV[9])
  return 'REVOKED'
end
redis.call('HSET', key, 'state', 'RETRY')
wait_until(id, now + tonumber(ARGV[3]))
return 'RETRY'
