-- In which order jobs go that are due.
-- `waiting` says that a job waits, and until when. The lines ready:<account>:<priority> say which of
-- those that are due is next, by start-time fair queueing: each tenant's jobs are numbered, a new one
-- with the number after its tenant's last, or with the number that is served now. Lines are derived:
-- what is in one and does not wait is dropped when its turn comes, what waits and is in none is lined
-- up when it is come upon.
local ORDER = PREFIX .. 'order'
-- Of so many jobs one is bulk, if there are both.
local BULK_SHARE = 10
-- So many jobs of a tenant that comes anew go before others, who have had their turns.
local CREDIT = 20
-- Those with the same number go in the order in which they came: parts of one, within a number's
-- precision up to a million jobs of each tenant.
local COME = 1e-9
-- Where the gate is closed for one app alone, its jobs in line wait for so many seconds.
local HELD_APP = 5
-- Among so many jobs in line a probe is chosen.
local SAMPLE = 100

-- Seconds after which a job that waits for the one before it is looked at again, should nobody wake it.
local HELD = 60
-- Until when it waits for that one, if it does, see chain.lua.
local held_until

local function line_of(account, priority)
  return PREFIX .. 'ready:' .. account .. ':' .. (priority == 'bulk' and 'bulk' or 'interactive')
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

-- It waits no more, and its tenant has not had this turn.
local function leave_line(id)
  local was = redis.pcall('HMGET', record(id), 'account', 'priority', 'group', 'app_id') -- it may be no hash
  local line = was[1] and line_of(was[1], was[2])
  if not line or redis.call('ZREM', line, id) == 0 then return end
  local numbers, tenant = line .. ':numbers', 'of ' .. (was[3] or was[4] or '')
  local last = tonumber(redis.call('HGET', numbers, tenant) or nil)
  if last then redis.call('HSET', numbers, tenant, last - 1) end
end

-- What has waited its time already goes first, as it came.
local function line_up_first(id, since) line_up(id, since - 1e10) end

-- Whether it was in none. A new job may be another's business: `takes(id, account)`, if given, says so.
local function line_up_one(id, due, takes)
  local was = redis.pcall('HMGET', record(id), 'account', 'priority', 'group', 'app_id', 'state', 'created_at',
                         'after')
  local line = was[1] and line_of(was[1], was[2])
  local since = tonumber(was[6] or nil)
  if not line then
    -- An entry without a record is nobody's; of a damaged one a person is told.
    if redis.call('EXISTS', record(id)) == 0 then redis.call('ZREM', WAITING, id)
    else redis.call('ZADD', WAITING, stamp(now + LATER), id) end
  elseif was[7] and held_until(id) then
    redis.call('ZADD', WAITING, stamp(held_until(id)), id)
  elseif takes and was[5] == 'PENDING' and takes(id, was[1]) then
    return false
  elseif not redis.call('ZSCORE', line, id) then
    if since and due < since - 1 then line_up_first(id, since) else line_up(id, was[5] == 'PENDING' and 'new' or 'back', was) end
    return true
  end
end

-- What waits behind this id of this instant, in Redis's own order. An id that is not there any more is put
-- there for a moment, to see where it was.
local function waiting_behind(instant, id, limit)
  local was = redis.call('ZSCORE', WAITING, id)
  redis.call('ZADD', WAITING, instant, id)
  local first = redis.call('ZRANK', WAITING, id)
  if was then redis.call('ZADD', WAITING, was, id) else redis.call('ZREM', WAITING, id) end
  if was and tonumber(was) <= tonumber(instant) then first = first + 1 end
  return redis.call('ZRANGE', WAITING, first, first + limit - 1, 'WITHSCORES')
end

-- Line up those that are due from where `cursor` stands, as many as `limit`. `<cursor>until` says how far that
-- went, and `<cursor>behind` the last id of that instant, if there were more. Returns whether there may be others
-- left, and how many were in no line.
local function line_up_from(cursor, limit, takes)
  local until_then, behind = cursor .. 'until', cursor .. 'behind'
  local from = redis.call('HGET', ORDER, until_then) or '-inf'
  local instant, id = string.match(redis.call('HGET', ORDER, behind) or '', '^(%S+) (.+)$')
  if (tonumber(from) or 0) > now then from = '-inf' end -- the clock was set back
  local due
  if instant == from then
    due = waiting_behind(instant, id, limit)
  else
    due = redis.call('ZRANGEBYSCORE', WAITING, from, stamp(now), 'WITHSCORES', 'LIMIT', 0, limit)
  end
  local last, found = nil, 0
  for i = 1, #due, 2 do
    if tonumber(due[i + 1]) > now then break end
    last = i
  end
  for i = 1, last or 0, 2 do
    if line_up_one(due[i], tonumber(due[i + 1]), takes) then found = found + 1 end
  end
  if last and last + 1 == 2 * limit then
    redis.call('HSET', ORDER, until_then, due[last + 1], behind, due[last + 1] .. ' ' .. due[last])
    return true, found
  end
  redis.call('HSET', ORDER, until_then, stamp(now))
  redis.call('HDEL', ORDER, behind)
  return false, found
end

-- Those whose time has come since this was done last.
local function line_up_due(limit, takes) return line_up_from('', limit, takes) end

-- All that are due, a few each time, in case one is in no line: lines may get lost. Those of accounts that nobody
-- serves are due for ever, so there is some time between two looks that found nothing. Returns how many were in none.
local LOOK_SECONDS = 0.5
local function line_up_missing(limit)
  local looked_at = tonumber(redis.call('HGET', ORDER, 'missing at') or 0)
  if looked_at <= now and looked_at + LOOK_SECONDS > now then return 0 end
  local more, found = line_up_from('missing ', limit)
  if not more then redis.call('HDEL', ORDER, 'missing until') end
  if found > 0 then redis.call('HDEL', ORDER, 'missing at') else redis.call('HSET', ORDER, 'missing at', stamp(now)) end
  return found
end

-- A job to probe with: of any app in line, then any of its jobs, if there are of those that were never refused.
-- Those that fail are the first in their lines, and if it is their own fault, or their app's, none of these would
-- open the gate. `only` is the one app to choose from, if given. Returns id, number and whether it is one of those.
local function draw_probe(line, only)
  local fresh, others = {jobs = {}, apps = {}}, {jobs = {}, apps = {}}
  math.randomseed(tonumber(time[2])) -- else each run of a script draws the same
  local seen = redis.call('ZRANDMEMBER', line, SAMPLE, 'WITHSCORES')
  for i = 1, #seen, 2 do
    local was = redis.pcall('HMGET', record(seen[i]), 'app_id', 'refused_at') -- it may be no hash
    local app, into = 'app ' .. (was[1] or ''), was[2] and others or fresh
    if not only or app == only then
      if not into.jobs[app] then into.jobs[app], into.apps[#into.apps + 1] = {}, app end
      table.insert(into.jobs[app], {seen[i], seen[i + 1]})
    end
  end
  local from = #fresh.apps > 0 and fresh or others
  if #from.apps == 0 then return nil end
  local of_app = from.jobs[from.apps[math.random(#from.apps)]]
  local id, number = unpack(of_app[math.random(#of_app)])
  return id, number, from == fresh
end

-- Whether the app for which alone a gate is closed may be probed. Until the one that is in the pipe is claimed
-- no other may, but its hint may be lost.
local function probe_is_due(gate)
  local hinted_at = gate.hinted_at or 0
  return gate.probe_at <= now and (hinted_at < gate.probe_at or hinted_at + HELD_APP <= now)
end

-- Whether another job of the one app that is refused may be tried at once: it tells whether that is the app's
-- trouble or one job's own.
local function may_ask_another(gate) return gate.rejected_at and gate.probes == 0 and not gate.others end

-- Take the jobs of an account that are next, at most `most`, of them at most `most_bulk` bulk ones
-- unless it is their turn. Calls `take(id)` for each. `gate` is the account's: where it is closed for
-- one app alone, that app's jobs wait, but for a probe.
local function serve(account, most, most_bulk, take, is_probe, gate)
  local lines, left, served = {}, {}, {}
  for _, priority in ipairs({'interactive', 'bulk'}) do
    lines[priority] = line_of(account, priority)
    left[priority] = redis.call('ZCARD', lines[priority])
  end
  local turns = 'before bulk:' .. account
  local before_bulk = tonumber(redis.call('HGET', ORDER, turns) or 0)
  local taken, looked_at, held, probe, is_drawn = 0, 0, gate.only, nil, {}
  local may_probe = held and probe_is_due(gate)
  while taken < most and looked_at < 4 * most do
    local is_bulks_turn = left.bulk > 0 and before_bulk >= BULK_SHARE - 1
    local priority = (is_bulks_turn or left.interactive == 0) and 'bulk' or 'interactive'
    if left[priority] == 0 or (priority == 'bulk' and not is_bulks_turn and taken >= most_bulk) then break end
    local line = lines[priority]
    local id, number, is_fresh
    if (is_probe or held) and not is_drawn[priority] then id, number, is_fresh = draw_probe(line, held) end
    is_drawn[priority] = true
    if id then
      probe = id
      if held and is_fresh and may_ask_another(gate) then
        may_probe, gate.probe_at = true, now
        redis.call('HSET', gate.key, 'probe_at', string.format('%.6f', now), 'others', 1)
      end
      redis.call('ZREM', line, id)
    else
      id, number = unpack(redis.call('ZPOPMIN', line))
    end
    number = tonumber(number)
    left[priority], looked_at = left[priority] - 1, looked_at + 1
    local waits_until = tonumber(redis.call('ZSCORE', WAITING, id) or nil)
    local was = redis.pcall('HMGET', record(id), 'group', 'app_id') -- it may be no hash
    local is_held = held and 'app ' .. (was[2] or '') == held and not (id == probe and may_probe)
    if waits_until and waits_until <= now and is_held then
      local until_then = id == probe and gate.probe_at > now and gate.probe_at or math.huge
      redis.call('ZADD', WAITING, stamp(math.min(until_then, now + HELD_APP)), id)
      if priority == 'bulk' then before_bulk = 0 end -- it was their turn
    elseif waits_until and waits_until <= now then
      redis.call('ZREM', WAITING, id)
      take(id)
      taken = taken + 1
      before_bulk = priority == 'bulk' and 0 or before_bulk + 1
      if id == probe then -- which is out of its turn
        may_probe = false
        if held then redis.call('HSET', gate.key, 'hinted_at', string.format('%.6f', now)) end
      else
        local numbers, tenant = line .. ':numbers', 'of ' .. (was[1] or was[2] or '')
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
