-- A stale attempt has made calls that change the webhook, perhaps after later jobs had: the webhook's latest job
-- runs again. ARGV: id of the stale attempt's job.
-- Returns the id of the latest and what comes of it: 'again' (it runs, or will once its attempt has ended),
-- 'looks' (it has not run yet, and will look first), or 'cannot' (a person must look); or nothing, as there is no
-- later job.
local links = links_of(ARGV[1])
local id = redis.call('HGET', chain_key(links.first), 'latest')
if not id or id == ARGV[1] then return false end
local state = redis.pcall('HGET', record(id), 'state') -- it may be no hash
if state == 'PENDING' or state == 'RETRY' then
  redis.call('HSET', record(id), 'unknown', '1')
  return {id, 'looks'}
elseif state == 'STARTED' then
  redis.call('HSET', record(id), 'run_again', '1')
  return {id, 'again'}
end
if state ~= 'SUCCESS' or not run_again(id) then return {id, 'cannot'} end
rejoin(id) -- which had ended
return {id, 'again'}
