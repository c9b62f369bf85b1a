-- The jobs of one webhook run one after the other.
-- A record has `after`, the job before it in its webhook's chain, `next`, the one behind it, and
-- `chain`, the id of the webhook's first create job, unless it is that one. What was claimed once has
-- none before it that is unfinished: who never ran and ends leaves the chain.
local function chain_key(first) return PREFIX .. 'chain:' .. first end

local function is_unfinished(id)
  local state = redis.pcall('HGET', record(id), 'state') -- it may be no hash
  return state == 'PENDING' or state == 'STARTED' or state == 'RETRY'
end

local function is_hash(id) return redis.call('TYPE', record(id)).ok == 'hash' end

local function points_to(id, field, other)
  return id and redis.pcall('HGET', record(id), field) == other
end

local function set_or_drop_in(key, field, value)
  if value then redis.call('HSET', key, field, value) else redis.call('HDEL', key, field) end
end

local function set_or_drop(id, field, value) set_or_drop_in(record(id), field, value) end

-- Whether nobody sees to a job, as its record cannot be read. Its attempt may still be calling, for so
-- many seconds at most.
local LONGEST_ATTEMPT = 600
local function is_lost_to_all(id)
  if not is_damaged(id) then return false end
  local was = redis.call('HMGET', record(id), 'state', 'started_at')
  local since = tonumber(was[2] or nil) or 0
  return not (was[1] == 'STARTED' and since > now - LONGEST_ATTEMPT and since <= now)
end

-- Until when a call may have its effect that a lost attempt at this job had made.
local function quiet_until(id)
  return tonumber(redis.pcall('HGET', record(id), 'quiet_until') or nil) or 0 -- it may be no hash
end

-- Until when it waits for the job before it, if it does: until that has ended, or until the calls of its lost
-- attempts are over, which could undo what this one does. One that does not know of it is another of the same
-- id: it was forgotten or has expired, and was enqueued anew, behind this one.
function held_until(id)
  local before = redis.call('HGET', record(id), 'after')
  if not points_to(before, 'next', id) then return end
  if is_unfinished(before) and not is_lost_to_all(before) then return now + HELD end
  local quiet = quiet_until(before)
  return quiet > now and quiet or nil
end
local function is_held(id) return held_until(id) ~= nil end

local function links_of(id)
  local was = redis.call('HMGET', record(id), 'after', 'next', 'chain', 'attempt', 'action')
  return {before = was[1], behind = was[2], first = was[3] or id, attempt = was[4], action = was[5] or 'create'}
end

-- Those on both sides of it are neighbours.
local function unlink(id, links)
  if points_to(links.behind, 'after', id) then set_or_drop(links.behind, 'after', links.before) end
  if points_to(links.before, 'next', id) then set_or_drop(links.before, 'next', links.behind) end
end

-- The deletes since the latest creation, so many at most: the oldest and the latest. A creation comes
-- behind the last one of these that does not come to nothing.
local DELETES = 20

local function note_delete(chain, id)
  local ids = {}
  for one in string.gmatch(redis.call('HGET', chain, 'deleted') or '', '%S+') do
    if one ~= id then ids[#ids + 1] = one end
  end
  ids[#ids + 1] = id
  if #ids > DELETES then table.remove(ids, 2) end
  redis.call('HSET', chain, 'deleted', table.concat(ids, ' '))
end

-- A delete has ended. Nobody wants one that was cancelled or whose time is over: if it had no effect,
-- it is as if it had never been accepted. Those before one that succeeded do not matter any more.
local function end_delete(chain, id)
  local was = redis.call('HMGET', record(id), 'state', 'unknown', 'expires_at')
  local is_over = was[1] == 'FAILURE' and tonumber(was[3] or LATEST) <= now
  local comes_to_nothing = (was[1] == 'REVOKED' or is_over) and was[2] ~= '1'
  local ids = {}
  for one in string.gmatch(redis.call('HGET', chain, 'deleted') or '', '%S+') do
    if one == id and was[1] == 'SUCCESS' then ids = {} end
    if one ~= id or not comes_to_nothing then ids[#ids + 1] = one end
  end
  set_or_drop_in(chain, 'deleted', ids[1] and table.concat(ids, ' '))
end

-- It is the last of its webhook's jobs from now on. Only what is alone has no chain.
local function append(id, first, action)
  local chain = chain_key(first)
  local before = redis.call('HGET', chain, 'latest') or first
  if before == id or not is_hash(before) then before = nil end
  set_or_drop(id, 'after', before)
  redis.call('HDEL', record(id), 'next')
  if before then redis.call('HSET', record(before), 'next', id) end
  redis.call('HSET', chain, 'latest', id)
  if action == 'create' then
    redis.call('HSET', chain, 'create', id)
    redis.call('HDEL', chain, 'deleted')
  elseif action == 'delete' then
    note_delete(chain, id)
  end
  redis.call('PERSIST', chain)
  return before
end

-- Whether a later job of its webhook was asked for, before which it must not run again.
local function is_followed(id)
  local links = links_of(id)
  if links.behind then return true end
  local latest = redis.call('HGET', chain_key(links.first), 'latest')
  return latest and latest ~= id and latest ~= links.before
end

-- It is taken up again, behind all others of its webhook; those that were behind it know it no more.
local function rejoin(id)
  local links = links_of(id)
  local chain = chain_key(links.first)
  if redis.call('HGET', chain, 'latest') == id then
    if links.action == 'delete' then note_delete(chain, id) end
    return redis.call('PERSIST', chain)
  end
  if links.first ~= id or links.behind or redis.call('EXISTS', chain) == 1 then append(id, links.first, links.action) end
end

local function wake(id, earliest)
  local until_then = id and tonumber(redis.call('ZSCORE', WAITING, id) or nil)
  if not until_then or until_then <= now then return end
  local due = math.max(now, earliest, tonumber(redis.pcall('HGET', record(id), 'due_at') or nil) or now)
  redis.call('ZADD', WAITING, stamp(due), id)
  if tonumber(stamp(due)) > now then return end
  line_up(id, 'new')
  wake_dispatcher()
end

-- A chain is kept as long as every record that an enqueue or a retry may meet, and for so many seconds
-- at least: while it has a job that is unfinished or failed, then until the latest end of a record.
local function keep_chain(first, lifetime)
  local chain = chain_key(first)
  local was = redis.call('HMGET', chain, 'latest', 'create', 'kept_until')
  lifetime = math.max(lifetime, math.ceil(tonumber(was[3] or 0) - now))
  for _, id in ipairs({first, was[1] or first, was[2] or first}) do
    local left = redis.call('TTL', record(id))
    if left == -1 then return redis.call('PERSIST', chain) end
    if left > lifetime then lifetime = left + 1 end -- which may have been rounded down
  end
  if redis.call('TTL', chain) < lifetime then redis.call('EXPIRE', chain, lifetime) end
end

-- It has ended: the next one's time has come.
local function end_in_chain(id, lifetime)
  local links = links_of(id)
  local chain = chain_key(links.first)
  local latest = redis.call('HGET', chain, 'latest')
  if latest then
    local kept_until = tonumber(redis.call('HGET', chain, 'kept_until') or 0)
    redis.call('HSET', chain, 'kept_until', stamp(math.max(kept_until, now + lifetime)))
    if links.action == 'delete' then end_delete(chain, id) end
  end
  if links.attempt == '0' or is_held(id) then
    unlink(id, links)
    if latest == id then set_or_drop_in(chain, 'latest', links.before) end
  end
  if latest == id then keep_chain(links.first, tonumber(lifetime)) end
  wake(links.behind, quiet_until(id))
end

-- Its record is gone, which may have been what kept its webhook's chain.
local FORGOTTEN = 7 * 86400
local function forget_chain(id, first, lifetime)
  local was = redis.call('HMGET', chain_key(first), 'latest', 'create')
  if first == id or was[1] == id or was[2] == id then keep_chain(first, lifetime) end
end

-- The id of the create job that follows this delete: a new one each time that the delete was accepted.
-- A repeated step does not ask for it, as the chain names the create job by then.
local function id_behind(delete)
  local id, seed = nil, 'create after ' .. delete
  repeat
    local hex = redis.sha1hex(seed)
    id = table.concat({string.sub(hex, 1, 8), string.sub(hex, 9, 12), '5' .. string.sub(hex, 14, 16),
                       '8' .. string.sub(hex, 18, 20), string.sub(hex, 21, 32)}, '-')
    seed = 'create after ' .. delete .. ' and ' .. id
  until redis.call('EXISTS', record(id)) == 0
  return id
end
