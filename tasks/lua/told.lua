-- The result backend was told of these jobs.
--: told(tells, alerted, ids...)
-- It `tells` this state of them ('' for no record); Sentry heard of the failure `alerted` ('' for none).
-- Returns those of which there is something else to tell by now, which is noted.
local others = {}
for _, id in ipairs(ids) do
  local state = redis.pcall('HGET', record(id), 'state') -- it may be no hash
  local is_known = type(state) == 'string'
  if alerted ~= '' and is_known then
    redis.call('HSET', record(id), 'alerted', alerted)
    redis.call('HDEL', record(id), 'alerting')
  end
  if tells == (is_known and state or '') then
    redis.call('ZREM', UNTOLD, id)
  elseif not is_left_alone(id) then
    redis.call('ZADD', UNTOLD, stamp(now), id)
    others[#others + 1] = id
  end
end
return others
