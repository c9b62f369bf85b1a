-- The jobs of one webhook run one after the other: put before every step, behind the order.
-- A record has `after`, the job before it in its webhook's chain, `next`, the one behind it, and
-- `chain`, the id of the webhook's first create job, unless it is that one. What was claimed once has
-- none before it that is unfinished: who never ran and ends leaves the chain.
-- Seconds after which a job that waits for the one before it is looked at again, should nobody wake it.
local HELD = 60

local function chain_key(first) return KEYS[1] .. 'chain:' .. first end

local function is_unfinished(id)
  local state = redis.pcall('HGET', record(id), 'state') -- it may be no hash
  return state == 'PENDING' or state == 'STARTED' or state == 'RETRY'
end

local function is_hash(id) return redis.call('TYPE', record(id)).ok == 'hash' end

local function points_to(id, field, other)
  return id and redis.pcall('HGET', record(id), field) == other
end

local function set_or_drop(id, field, value)
  if value then redis.call('HSET', record(id), field, value) else redis.call('HDEL', record(id), field) end
end

-- Whether the job before it has not ended. One that does not know of it is another of the same id:
-- it was forgotten or has expired, and was enqueued anew, behind this one.
local function is_held(id)
  local before = redis.call('HGET', record(id), 'after')
  return points_to(before, 'next', id) and is_unfinished(before)
end

local function links_of(id)
  local was = redis.call('HMGET', record(id), 'after', 'next', 'chain', 'attempt', 'action')
  return {before = was[1], behind = was[2], first = was[3] or id, attempt = was[4], action = was[5] or 'create'}
end

-- Those on both sides of it are neighbours.
local function unlink(id, links)
  if points_to(links.behind, 'after', id) then set_or_drop(links.behind, 'after', links.before) end
  if points_to(links.before, 'next', id) then set_or_drop(links.before, 'next', links.behind) end
end

-- It is the last of its webhook's jobs from now on. Only what is alone has no chain.
local function append(id, first, action)
  local chain = chain_key(first)
  local before = redis.call('HGET', chain, 'latest') or first
  if before == id or not is_hash(before) then before = nil end
  set_or_drop(id, 'after', before)
  redis.call('HDEL', record(id), 'next')
  if points_to(id, 'v', '1') then redis.call('HSET', record(id), 'v', CHAINED) end
  if before then redis.call('HSET', record(before), 'next', id) end
  redis.call('HSET', chain, 'latest', id)
  if action == 'create' then
    redis.call('HSET', chain, 'create', id)
    redis.call('HDEL', chain, 'deleted')
  elseif action == 'delete' then
    redis.call('HSET', chain, 'deleted', id)
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
  if redis.call('HGET', chain, 'latest') == id then return redis.call('PERSIST', chain) end
  if links.first ~= id or links.behind or redis.call('EXISTS', chain) == 1 then append(id, links.first, links.action) end
end

local function wake(id)
  local until_then = id and tonumber(redis.call('ZSCORE', WAITING, id) or nil)
  if not until_then or until_then <= now then return end
  local due = math.max(now, tonumber(redis.pcall('HGET', record(id), 'due_at') or nil) or now)
  redis.call('ZADD', WAITING, stamp(due), id)
  if tonumber(stamp(due)) <= now then line_up(id, 'new') end
end

-- It has ended: the next one's time has come. A chain is kept as long as the record of its latest job.
local function end_in_chain(id, lifetime)
  local links = links_of(id)
  local chain = chain_key(links.first)
  local latest = redis.call('HGET', chain, 'latest')
  local is_latest_of_all = latest == id
  if links.attempt == '0' or is_held(id) then
    unlink(id, links)
    if is_latest_of_all then
      latest = links.before
      if latest then redis.call('HSET', chain, 'latest', latest) else redis.call('HDEL', chain, 'latest') end
    end
  end
  if is_latest_of_all then
    local state = latest and redis.pcall('HGET', record(latest), 'state')
    if state ~= 'FAILURE' and not (latest and is_unfinished(latest)) then redis.call('EXPIRE', chain, lifetime) end
  end
  wake(links.behind)
end

-- Its record is deleted: that of the chain's latest was all that kept the chain, if it had failed.
local FORGOTTEN = 7 * 86400
local function forget_chain(id)
  local chain = chain_key(redis.pcall('HGET', record(id), 'chain') or id)
  if redis.call('HGET', chain, 'latest') == id then redis.call('EXPIRE', chain, FORGOTTEN) end
end

-- The id of the create job that follows this delete: always the same, so that a repeated step finds it.
local function id_behind(delete)
  local hex = redis.sha1hex('create after ' .. delete)
  return table.concat({string.sub(hex, 1, 8), string.sub(hex, 9, 12), '5' .. string.sub(hex, 14, 16),
                       '8' .. string.sub(hex, 18, 20), string.sub(hex, 21, 32)}, '-')
end
