-- A job's password was sealed anew with the newest key. ARGV: id, as it was sealed, as it is now, the
-- mark by that key. Returns 1, or 0 if it is another by now, or none.
local id, key = ARGV[1], record(ARGV[1])
if is_left_alone(id) then return 0 end
if redis.call('GET', sealed_key(id)) ~= ARGV[2] then
  -- One of an earlier version has it in its record; the worker that runs it knows it there.
  local was = redis.call('HMGET', key, 'password', 'state')
  if was[1] ~= ARGV[2] or was[2] == 'STARTED' then return 0 end
  redis.call('HDEL', key, 'password')
end
redis.call('SET', sealed_key(id), ARGV[3])
redis.call('HSET', key, 'mark', ARGV[4], 'v', VERSION)
return 1
