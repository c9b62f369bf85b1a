-- A person does not want the job any more.
--: cancel(id, lifetime)
-- Returns the state that follows: REVOKED; STARTED if it is calling the API just now (then it is
-- noted, and the job ends as REVOKED unless this very call succeeds or fails for good); or the
-- state in which it had ended. Nothing if there is no such job.
local key = record(id)
local state = redis.call('HGET', key, 'state')
if not state then return false end
if state == 'STARTED' then
  redis.call('HSET', key, 'cancelled', '1')
elseif state == 'PENDING' or state == 'RETRY' then
  leave_line(id)
  settle(id, 'REVOKED', lifetime)
  return 'REVOKED'
elseif state == 'REVOKED' then
  redis.call('HSET', key, 'state', state) -- there must be something to confirm
end
return state
