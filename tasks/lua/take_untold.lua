-- Of which jobs the result backend is to be told, at most so many; they are the caller's for a while.
--: take_untold(most)
-- Returns their ids; some may have no record any more.
local ids = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', stamp(now), 'LIMIT', 0, most)) do
  redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id)
  if not is_left_alone(id) then ids[#ids + 1] = id end
end
return ids
