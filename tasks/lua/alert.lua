-- Sentry is about to be told of a failure.
--: alert(id, failure, seconds)
-- That is done within so many `seconds`.
-- Returns 1 if the caller is to tell it, 0 if another is at it, -1 if that was done, or if there is no such job.
local key = record(id)
local was = redis.call('HMGET', key, 'state', 'alerted', 'alerting')
if not was[1] or was[2] == failure then return -1 end
if (tonumber(was[3] or nil) or 0) > now then return 0 end
redis.call('HSET', key, 'alerting', stamp(now + tonumber(seconds)))
return 1
