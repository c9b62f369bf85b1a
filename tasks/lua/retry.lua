-- Ended jobs are taken up again. ARGV: 'fresh' (a person asks: all attempts anew) or 'once'
--   (beat asks: one more attempt), then ids. Returns for each its state afterwards ('' if none).
local outcomes = {}
for i = 2, #ARGV do
  local id, key = ARGV[i], record(ARGV[i])
  local state = redis.call('HGET', key, 'state')
  if state == 'FAILURE' or (state == 'REVOKED' and ARGV[1] == 'fresh') then
    redis.call('ZREM', FAILED, id)
    redis.call('ZREM', UNTOLD, id)
    redis.call('PERSIST', key)
    redis.call('HDEL', key, 'ended_at', 'cancelled')
    if ARGV[1] == 'fresh' then
      redis.call('HDEL', key, 'error', 'first_attempt_at', 'holds', 'alerted')
      redis.call('HSET', key, 'attempts', '0')
      state = 'PENDING'
    else
      state = 'RETRY'
    end
    redis.call('HSET', key, 'state', state)
    wait_until(id, now)
  end
  outcomes[#outcomes + 1] = state or ''
end
return outcomes
