-- Of which jobs the result backend is to be told; they are the caller's for a while.
-- ARGV: batch limit. Returns their ids; some may have no record any more.
local ids = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', stamp(now), 'LIMIT', 0, ARGV[1])) do
  redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id)
  if not is_left_alone(id) then ids[#ids + 1] = id end
end
return ids
