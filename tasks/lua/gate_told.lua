-- People were told what an account's gate had to tell. ARGV: account, the job that met it.
local key = gate_key(ARGV[1])
if redis.call('HGET', key, 'alarm_job') == 'job ' .. ARGV[2] then redis.call('HDEL', key, 'alarm_due', 'alarm_job') end
return 1
