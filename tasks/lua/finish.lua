-- The attempt reports the job's end. ARGV: id, attempt, its token, SUCCESS or FAILURE, result (JSON
--   or ''), error (JSON or ''), history entry (JSON or ''), lifetime seconds, 1 if its outcome is
--   unknown, then what the gate is told, see `tell_gate`.
-- Returns 1, or 0 for a stale attempt, which changes nothing. Reporting twice is harmless. A job that is to run
-- again, see recheck.lua, waits for that.
local id, key = ARGV[1], record(ARGV[1])
if not is_latest(id, ARGV[2], ARGV[3]) then return 0 end
local state = redis.call('HGET', key, 'state')
if state == ARGV[4] then return 1 end
if state ~= 'STARTED' then return 0 end
tell_gate(id, 10)
redis.call('HDEL', key, 'result', 'error')
if ARGV[5] ~= '' then redis.call('HSET', key, 'result', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', key, 'error', ARGV[6]) end
if ARGV[9] == '1' then redis.call('HSET', key, 'unknown', '1') end
remember(id, ARGV[7])
if ARGV[4] == 'SUCCESS' and redis.call('HGET', key, 'run_again') == '1' and run_again(id) then
  redis.call('ZREM', RUNNING, id)
  return 1
end
settle(id, ARGV[4], ARGV[8])
return 1
