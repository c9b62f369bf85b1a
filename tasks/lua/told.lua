-- The result backend was told of these jobs. ARGV: the state that it was told ('' for no record), the
--   failure that Sentry heard of ('' for none), ids.
-- Returns those of which there is something else to tell by now, which is noted.
local others = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local state = redis.pcall('HGET', record(id), 'state') -- it may be no hash
  local is_known = type(state) == 'string'
  if ARGV[2] ~= '' and is_known then
    redis.call('HSET', record(id), 'alerted', ARGV[2])
    redis.call('HDEL', record(id), 'alerting')
  end
  if ARGV[1] == (is_known and state or '') then
    redis.call('ZREM', UNTOLD, id)
  elseif not is_left_alone(id) then
    redis.call('ZADD', UNTOLD, stamp(now), id)
    others[#others + 1] = id
  end
end
return others
