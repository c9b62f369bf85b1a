-- A job's password was sealed anew with the newest key: as it was sealed, as it is now, and the mark by that key.
--: reseal(id, before, sealed, mark) grows
-- Returns 1, or 0 if it is another by now, or none.
local key = record(id)
if is_left_alone(id) then return 0 end
if redis.call('GET', sealed_key(id)) ~= before then
  -- One of an earlier version has it in its record; the worker that runs it knows it there.
  local was = redis.call('HMGET', key, 'password', 'state')
  if was[1] ~= before or was[2] == 'STARTED' then return 0 end
  redis.call('HDEL', key, 'password')
end
redis.call('SET', sealed_key(id), sealed)
redis.call('HSET', key, 'mark', mark, 'v', VERSION)
return 1
