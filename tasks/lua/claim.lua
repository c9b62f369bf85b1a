-- A worker takes a job that is due. Its attempt number fences off every older attempt.
--: claim(id, worker, token, lease, most, probe, rates...)
-- `token` is new for each claim, `lease` seconds; `most` calls a second that the settings allow (0 for no end), `rates`
-- accounts for which they allow others: name, calls; `probe` seconds between probes.
-- Returns the record, with `turn` (seconds until its call may be made), `closed` (seconds of its life in which
-- the gate was) and `refused_alone` ('1' if another call of the account has succeeded since this job was
-- refused); or nothing if there is nothing to claim, the job before it in its webhook's
-- chain has not ended, or the gate lets none pass.
local key = record(id)
local account, allowed
-- The record, with the sealed password if there is one, and what the gate says of it.
local function claimed(turn, closed_for, refused_at)
  local answer, sealed = redis.call('HGETALL', key), redis.call('GET', sealed_key(id))
  local more = {'turn', tostring(turn), 'closed', tostring(closed_for)}
  if sealed then more[#more + 1], more[#more + 2] = 'password', sealed end
  local ok_at = refused_at and redis.call('HGET', gate_key(account), 'ok_at')
  if ok_at and tonumber(ok_at) > tonumber(refused_at) then more[#more + 1], more[#more + 2] = 'refused_alone', '1' end
  for _, part in ipairs(more) do answer[#answer + 1] = part end
  return answer
end
local function limit_of(name)
  for i = 1, #rates, 2 do
    if rates[i] == name then return tonumber(rates[i + 1]) end
  end
  return tonumber(most)
end
local hinted = redis.call('ZSCORE', PUBLISHED, id)
local due = redis.call('ZSCORE', WAITING, id)
local is_due = hinted or (due and tonumber(due) <= now)
if is_left_alone(id) then
  -- Out of the pipe, where it would take the place of others.
  if is_due then
    redis.call('ZREM', PUBLISHED, id)
    redis.call('ZADD', WAITING, stamp(now + LATER), id)
  end
  return false
end
if not is_due then
  -- The answer to this very claim was lost, and it is asked again: the same answer.
  local was = redis.call('HMGET', key, 'state', 'token', 'account', 'refused_at', 'closed_before')
  if was[1] ~= 'STARTED' or was[2] ~= token then return false end
  account = was[3]
  local gate = gate_of(account)
  -- The turn that it took is not known any more: it is not later than this.
  local turn = rate_at(gate, now, limit_of(account)) == math.huge and 0 or TURN_SECONDS
  return claimed(turn, time_closed(gate, now) - tonumber(was[5] or 0), was[4])
end
redis.call('ZREM', PUBLISHED, id)
redis.call('ZREM', WAITING, id)
if redis.call('EXISTS', key) == 0 then return false end
-- One that nobody needs any more makes no call, and waits for none.
local was = redis.call('HMGET', key, 'expires_at', 'account', 'refused_at')
local has_expired = tonumber(was[1] or now + 1) <= now
local held = not has_expired and held_until(id)
if held then
  redis.call('ZADD', WAITING, stamp(held), id)
  return false
end
account, allowed = was[2], limit_of(was[2])
local turn, closed_for = 0, open_for_all(account, now, allowed)
if not closed_for then
  local gate = gate_of(account)
  turn = has_expired and 0 or ask(gate, now, allowed, tonumber(probe), false, app_of(id))
  note_closed(gate, now)
  keep_gate(gate)
  closed_for = time_closed(gate, now)
end
if not turn then
  redis.call('ZADD', WAITING, redis.call('HGET', key, 'due_at') or stamp(now), id)
  line_up(id, 'back')
  return false
end
redis.call('ZADD', RUNNING, stamp(now + tonumber(lease)), id)
redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HINCRBY', key, 'attempts', 1)
local is_first = redis.call('HSETNX', key, 'first_attempt_at', stamp(now)) == 1
redis.call('HSET', key, 'state', 'STARTED', 'started_at', stamp(now), 'worker', worker,
  'token', token)
redis.call('HDEL', key, 'due_at')
if is_first then redis.call('HDEL', key, 'closed_before') end
if closed_for > 0 then
  if is_first then redis.call('HSET', key, 'closed_before', string.format('%.6f', closed_for)) end
  closed_for = closed_for - tonumber(redis.call('HGET', key, 'closed_before') or 0)
end
return claimed(turn, closed_for, was[3])
