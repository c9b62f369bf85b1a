-- A stale attempt has made calls that change the webhook, perhaps after later jobs had: the latest of its jobs that
-- has run runs again, in its place.
--: recheck(stale)
-- `stale` is the id of the stale attempt's job.
-- Returns the id of the job and what comes of it: 'again' (it runs, or will once its attempt has ended),
-- 'looks' (it has not run yet, and will look first), or 'cannot' (a person must look); or nothing, as there is no
-- later job.
local latest = redis.call('HGET', chain_key(links_of(stale).first), 'latest')
if not latest or latest == stale then return false end
-- Those that have not run yet may be cancelled: it is one before them that must see to it.
local id, MOST_BACK = latest, 1000
for _ = 1, MOST_BACK do
  local was = redis.pcall('HMGET', record(id), 'state', 'attempt', 'after') -- it may be no hash
  local is_new, before = was[1] == 'PENDING' and was[2] == '0', was[3]
  if not is_new or before == stale or not points_to(before, 'next', id) then break end
  id = before
end
local state = redis.pcall('HGET', record(id), 'state')
if state == 'STARTED' then
  redis.call('HSET', record(id), 'run_again', '1')
  return {id, 'again'}
elseif state == 'SUCCESS' and run_again(id) then
  if not is_followed(id) then rejoin(id) end -- which had ended
  return {id, 'again'}
end
state = redis.pcall('HGET', record(latest), 'state')
if state ~= 'PENDING' and state ~= 'RETRY' then return {latest, 'cannot'} end
redis.call('HSET', record(latest), 'unknown', '1')
return {latest, 'looks'}
