-- New jobs, which wait for a dispatcher. One that exists stays as it is; a change of a webhook exists, too, if the
-- latest of its jobs is unfinished and asks for the same.
--: add(writes, jobs...) grows
-- `writes` is 1 to write what exists once more (as it is, so that there is something to confirm); of each job its
-- fields, see below: an instant before which it is not due (unix, 0 for now), the webhook (JSON), the sealed password
-- ('' for none), its version ('' for legacy), more fields (JSON, '' for none), with `expires_in` (seconds) in the place
-- of `expires_at`. The id of a webhook's create job stays as it is, unless it was deleted.
-- Returns the time and for each: 'waiting', 'exists' or 'damaged' (it exists, and is left as it is); behind that, if its
--   id is another than asked or it runs after another job, both of these ids, each behind a space.
-- It is not the same if it would be done later, or perhaps never.
local function asks_the_same(id, webhook, version, more, due)
  local names = {'action', 'webhook', 'triggers', 'webhook_version', 'mark', 'cancelled',
                 'expires_at', 'state', 'due_at'}
  local was = redis.pcall('HMGET', record(id), unpack(names)) -- it may be no hash
  return is_unfinished(id) and was[1] == more.action and was[2] == webhook
    and was[3] == (more.triggers or false) and was[4] == version
    and was[5] == (more.mark or false) and was[6] ~= '1'
    and not was[7] and (was[8] ~= 'PENDING' or (tonumber(was[9]) or 0) <= math.max(now, due))
    and not is_damaged(id)
end
local outcomes, is_any_due = {stamp(now)}, false
local FIELDS = 8
for i = 1, #jobs, FIELDS do
  local asked, not_before, account, app, webhook, sealed, version, more = unpack(jobs, i, i + FIELDS - 1)
  local id, due = asked, tonumber(not_before)
  more = more ~= '' and cjson.decode(more) or {}
  local first, action = more.chain or id, more.action or 'create'
  local chain = redis.call('HMGET', chain_key(first), 'latest', 'create', 'deleted')
  if action == 'create' then
    local deleted = string.match(chain[3] or '', '%S+$')
    id = deleted and id_behind(deleted) or chain[2] or id
    if id ~= first then more.chain = first end
  elseif redis.call('EXISTS', record(id)) == 0 and asks_the_same(chain[1] or first, webhook, version, more, due) then
    id = chain[1] or first
  end
  local key, after = record(id), nil
  if redis.call('EXISTS', key) == 1 then
    after = redis.pcall('HGET', key, 'after') -- it may be no hash
    local is_damaged = is_left_alone(id) and not is_newer(id)
    if writes == '1' and not is_damaged then redis.call('HSET', key, 'app_id', redis.call('HGET', key, 'app_id')) end
    outcomes[#outcomes + 1] = is_damaged and 'damaged' or 'exists'
  else
    if due < now then due = now end
    if more.expires_in then
      -- When its time is over it wakes to be told so.
      local ends = now + tonumber(more.expires_in)
      more.expires_at, more.expires_in, due = stamp(ends), nil, math.min(due, ends)
      redis.call('ZADD', EXPIRING, more.expires_at, id)
    end
    redis.call('HSET', key, 'v', VERSION, 'state', 'PENDING', 'account', account,
      'app_id', app, 'webhook', webhook, 'webhook_version', version,
      'created_at', stamp(now), 'due_at', stamp(due), 'attempt', '0', 'attempts', '0')
    if sealed ~= '' then redis.call('SET', sealed_key(id), sealed) end
    local in_chain = chain[1] or more.chain
    for name, text in pairs(more) do redis.call('HSET', key, name, text) end
    redis.call('ZADD', INDEX, stamp(now), id)
    if in_chain then after = append(id, first, action) end
    if in_chain and is_held(id) then
      redis.call('ZADD', WAITING, stamp(math.max(due, held_until(id))), id)
    else
      redis.call('ZADD', WAITING, stamp(due), id)
      if due <= now then
        line_up(id, 'new', {account, more.priority or false, more.group or false, app})
        is_any_due = true
      end
    end
    outcomes[#outcomes + 1] = 'waiting'
  end
  if id ~= asked or after then
    outcomes[#outcomes] = outcomes[#outcomes] .. ' ' .. id .. ' ' .. (type(after) == 'string' and after or '')
  end
end
if is_any_due then wake_dispatcher() end
return outcomes
