-- Outcomes that ended jobs' workers did not get to tell; they are the caller's for a while.
-- ARGV: batch limit. Returns their ids. Of a record that has expired there is nothing to tell.
local ids = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', stamp(now), 'LIMIT', 0, ARGV[1])) do
  if redis.call('EXISTS', record(id)) == 1 then
    redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id)
    if not is_left_alone(id) then ids[#ids + 1] = id end
  else
    redis.call('ZREM', UNTOLD, id)
  end
end
return ids
