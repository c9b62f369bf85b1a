-- The attempt reports the job's end. ARGV: id, attempt, SUCCESS or FAILURE, result (JSON or ''),
--   error (JSON or ''), history entry (JSON or ''), lifetime seconds, 1 if its outcome is unknown.
-- Returns 1, or 0 for a stale attempt, which changes nothing. Reporting twice is harmless.
local id, key = ARGV[1], record(ARGV[1])
local was = redis.call('HMGET', key, 'attempt', 'state')
if was[1] ~= ARGV[2] then return 0 end
if was[2] == ARGV[3] then return 1 end
if was[2] ~= 'STARTED' then return 0 end
redis.call('HDEL', key, 'result', 'error')
if ARGV[4] ~= '' then redis.call('HSET', key, 'result', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', key, 'error', ARGV[5]) end
if ARGV[8] == '1' then redis.call('HSET', key, 'unknown', '1') end
remember(id, ARGV[6])
settle(id, ARGV[3], ARGV[7])
return 1
