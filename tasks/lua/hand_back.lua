-- A worker that stops gives back what it holds: what it runs (its outcome is then unknown) and
-- what it had received but not begun. ARGV: worker, lifetime seconds, seconds that a call takes at
-- most, ids.
local back = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  if not is_left_alone(id) then
    local was = redis.call('HMGET', record(id), 'state', 'worker')
    if was[1] == 'STARTED' and was[2] == ARGV[1] then
      give_up_attempt(id, 'handed back', 'its worker was told to stop', 0, ARGV[2], ARGV[3])
      back = back + 1
    elseif redis.call('ZREM', PUBLISHED, id) == 1 then
      put_first(id)
      back = back + 1
    end
  end
end
return back
