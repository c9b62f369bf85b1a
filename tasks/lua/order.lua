-- In which order jobs go that are due: put before every step, behind the prelude.
-- `waiting` says that a job waits, and until when. The lines ready:<account>:<priority> say which of
-- those that are due is next, by start-time fair queueing: each tenant's jobs are numbered, a new one
-- with the number after its tenant's last, or with the number that is served now. Lines are derived:
-- what is in one and does not wait is dropped when its turn comes, what waits and is in none is lined
-- up when it is come upon.
local ORDER = KEYS[1] .. 'order'
-- Of so many jobs one is bulk, if there are both.
local BULK_SHARE = 10
-- So many jobs of a tenant that comes anew go before others, who have had their turns.
local CREDIT = 20
-- Those with the same number go in the order in which they came: parts of one, within a number's
-- precision up to a million jobs of each tenant.
local COME = 1e-9

local function line_of(account, priority)
  return KEYS[1] .. 'ready:' .. account .. ':' .. (priority == 'bulk' and 'bulk' or 'interactive')
end

-- `how`: 'new' behind its tenant's others, 'back' before all that have not been served yet, or the
-- number itself. `seen` is the record's {account, priority, group, app_id}, if known.
local function line_up(id, how, seen)
  -- It may be no record at all: then nobody is to take it.
  seen = seen or redis.pcall('HMGET', record(id), 'account', 'priority', 'group', 'app_id')
  if not seen[1] then return end
  local line = line_of(seen[1], seen[2])
  local numbers, number = line .. ':numbers', how
  if type(how) == 'string' then
    number = tonumber(redis.call('HGET', numbers, 'served') or 0)
    if how == 'new' then
      local tenant = 'of ' .. (seen[3] or seen[4] or '')
      local last = tonumber(redis.call('HGET', numbers, tenant) or nil)
      number = math.max(number - CREDIT, last and last + 1 or -math.huge)
      redis.call('HSET', numbers, tenant, number)
    else
      number = number - CREDIT - 0.5
    end
    number = number + redis.call('HINCRBY', numbers, 'came', 1) * COME
  end
  redis.call('ZADD', line, string.format('%.9f', number), id)
end

-- What has waited its time already goes first, as it came.
local function line_up_first(id, since) line_up(id, since - 1e10) end

local function line_up_one(id, due)
  local was = redis.pcall('HMGET', record(id), 'account', 'priority', 'group', 'app_id', 'state', 'created_at')
  local line = was[1] and line_of(was[1], was[2])
  local since = tonumber(was[6] or nil)
  if not line then
    -- An entry without a record is nobody's; of a damaged one a person is told.
    if redis.call('EXISTS', record(id)) == 0 then redis.call('ZREM', WAITING, id)
    else redis.call('ZADD', WAITING, stamp(now + LATER), id) end
  elseif not redis.call('ZSCORE', line, id) then
    if since and due < since - 1 then line_up_first(id, since) else line_up(id, was[5] == 'PENDING' and 'new' or 'back', was) end
  end
end

-- Line up those whose time has come since this was done last, as many as `limit`, and more if there
-- are more of the same instant. Returns whether there may be others left.
local function line_up_due(limit)
  local from = redis.call('HGET', ORDER, 'until') or '-inf'
  local due = redis.call('ZRANGEBYSCORE', WAITING, from, stamp(now), 'WITHSCORES', 'LIMIT', 0, limit)
  local last = #due == 2 * limit and due[#due]
  if last and last == from then
    due = redis.call('ZRANGEBYSCORE', WAITING, from, from, 'WITHSCORES')
    last = '(' .. from
  end
  for i = 1, #due, 2 do line_up_one(due[i], tonumber(due[i + 1])) end
  redis.call('HSET', ORDER, 'until', last or stamp(now))
  return last
end

-- Take the jobs of an account that are next, at most `most`, of them at most `most_bulk` bulk ones
-- unless it is their turn. Calls `take(id, attempts)` for each. A probe is any of them: the jobs that
-- fail are the first in their lines, and if it is their own fault, none of these would open the gate.
local function serve(account, most, most_bulk, take, is_probe)
  local lines, left, served = {}, {}, {}
  for _, priority in ipairs({'interactive', 'bulk'}) do
    lines[priority] = line_of(account, priority)
    left[priority] = redis.call('ZCARD', lines[priority])
  end
  local turns = 'before bulk:' .. account
  local before_bulk = tonumber(redis.call('HGET', ORDER, turns) or 0)
  local taken, looked_at = 0, 0
  while taken < most and looked_at < 4 * most do
    local is_bulks_turn = left.bulk > 0 and before_bulk >= BULK_SHARE - 1
    local priority = (is_bulks_turn or left.interactive == 0) and 'bulk' or 'interactive'
    if left[priority] == 0 or (priority == 'bulk' and not is_bulks_turn and taken >= most_bulk) then break end
    local line = lines[priority]
    local head = is_probe and redis.call('ZRANDMEMBER', line, 1, 'WITHSCORES') or redis.call('ZPOPMIN', line)
    local id, number = head[1], tonumber(head[2])
    if is_probe then redis.call('ZREM', line, id) end
    left[priority], looked_at = left[priority] - 1, looked_at + 1
    local waits_until = tonumber(redis.call('ZSCORE', WAITING, id) or nil)
    if waits_until and waits_until <= now then
      local was = redis.pcall('HMGET', record(id), 'attempts', 'group', 'app_id') -- it may be no hash
      redis.call('ZREM', WAITING, id)
      take(id, tonumber(was[1] or nil) or 0)
      taken = taken + 1
      before_bulk = priority == 'bulk' and 0 or before_bulk + 1
      if not is_probe then -- which is out of its turn
        local numbers, tenant = line .. ':numbers', 'of ' .. (was[2] or was[3] or '')
        number = math.floor(number + 0.5)
        served[priority] = math.max(served[priority] or tonumber(redis.call('HGET', numbers, 'served') or 0), number)
        if tonumber(redis.call('HGET', numbers, tenant) or nil) == number then redis.call('HDEL', numbers, tenant) end
      end
    end
  end
  for priority, line in pairs(lines) do
    if left[priority] == 0 then
      redis.call('DEL', line .. ':numbers')
    elseif served[priority] then
      redis.call('HSET', line .. ':numbers', 'served', served[priority])
    end
  end
  if left.bulk > 0 then redis.call('HSET', ORDER, turns, before_bulk) else redis.call('HDEL', ORDER, turns) end
  return taken
end

local function in_line(account)
  return redis.call('ZCARD', line_of(account, 'interactive')) + redis.call('ZCARD', line_of(account, 'bulk'))
end
