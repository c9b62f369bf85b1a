-- A worker that stops gives back what it holds: what it runs (its outcome is then unknown) and
-- what it had received but not begun.
--: hand_back(worker, lifetime, call_seconds, ids...)
local back = 0
for _, id in ipairs(ids) do
  if not is_left_alone(id) then
    local was = redis.call('HMGET', record(id), 'state', 'worker')
    if was[1] == 'STARTED' and was[2] == worker then
      give_up_attempt(id, 'handed back', 'its worker was told to stop', 0, lifetime, call_seconds)
      back = back + 1
    elseif redis.call('ZREM', PUBLISHED, id) == 1 then
      put_first(id)
      back = back + 1
    end
  end
end
return back
