-- Outcomes that ended jobs' workers did not get to tell; they are the caller's for a while.
-- ARGV: batch limit. Returns their ids.
local ids = redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', stamp(now), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do redis.call('ZADD', UNTOLD, stamp(now + TELL_AFTER), id) end
return ids
