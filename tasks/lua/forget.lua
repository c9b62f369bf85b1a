-- Records that ended are deleted, if they had by then (unix seconds, '' for whenever). A job that is taken up again
-- meanwhile stays.
--: forget(ended_by, ids...)
local function has_ended_by(instant, id)
  local ended_at = redis.call('ZSCORE', FAILED, id) or redis.call('HGET', record(id), 'ended_at')
  return instant == '' or (tonumber(ended_at or nil) or now) <= tonumber(instant)
end
local gone = 0
for _, id in ipairs(ids) do
  local state = 'is not known'
  if not is_left_alone(id) then state = redis.call('HGET', record(id), 'state') end
  if state and not has_ended_by(ended_by, id) then state = 'is not over' end
  if not state or state == 'SUCCESS' or state == 'FAILURE' or state == 'REVOKED' then
    local first = redis.pcall('HGET', record(id), 'chain') -- it may be no hash
    redis.call('DEL', record(id), sealed_key(id))
    forget_chain(id, type(first) == 'string' and first or id, state and FORGOTTEN or 0)
    for _, place in ipairs({WAITING, PUBLISHED, RUNNING, FAILED, INDEX, EXPIRING}) do
      redis.call('ZREM', place, id)
    end
    -- Else a job that is enqueued anew would have the result of this one.
    if state then redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id) end
    gone = gone + 1
  end
end
return gone
