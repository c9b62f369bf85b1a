-- Records that ended are deleted. ARGV: ids. A job that is taken up again meanwhile stays.
local gone = 0
for _, id in ipairs(ARGV) do
  local state = 'is not known'
  if not is_left_alone(id) then state = redis.call('HGET', record(id), 'state') end
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
