-- An alarm of an account that its attempt has not passed on; it is the caller's for a while.
--: gate_untold(account)
-- Returns the id of the job that met it; nothing if there is none.
local key = gate_key(account)
local was = redis.call('HMGET', key, 'alarm_due', 'alarm_job')
if not was[1] or tonumber(was[1]) > now then return false end
redis.call('HSET', key, 'alarm_due', string.format('%.6f', now + PASS_ON_AFTER))
return string.sub(was[2], #'job ' + 1)
