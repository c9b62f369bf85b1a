-- People were told what an account's gate had to tell.
--: gate_told(account, id)
-- `id` is of the job that met it.
local key = gate_key(account)
if redis.call('HGET', key, 'alarm_job') == 'job ' .. id then redis.call('HDEL', key, 'alarm_due', 'alarm_job') end
return 1
