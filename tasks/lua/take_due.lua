-- What somebody must look at now. Jobs of dead workers go back to waiting; hints that were lost
-- and jobs that are due come back for publishing, as many as the pipe has room for.
--: take_due(size, hint, queued, batch, limit, lifetime, call_seconds, rates...)
-- `size` jobs have room in the pipe; a hint ends after `hint` seconds; `queued` messages are in the queue, of `batch` jobs
-- at most each; the step takes `limit` jobs of each kind at most; `lifetime` and `call_seconds` are those of other steps;
-- `rates` has each account's name and the calls a second that the settings allow.
-- Returns {ids to publish, seconds until the next due time or until a gate lets more through (-1: none waits), how
--   many jobs are hinted at now}.
size, hint, queued, limit = tonumber(size), tonumber(hint), tonumber(queued), tonumber(limit)
-- Seconds: no lease or hint ends later; with nothing to do for so long there is time to look for what is missing.
local FAR, IDLE = 2 * LATER, 0.5
-- Seconds after a hint's end: no message is on its way for so long, if not in a queue that does not move.
local OVERDUE = 10

for _, id in ipairs(redis.call('ZRANGEBYSCORE', RUNNING, '-inf', stamp(now), 'LIMIT', 0, limit)) do
  if is_left_alone(id) then
    redis.call('ZADD', RUNNING, stamp(now + LATER), id)
  else
    -- At once, but a job that brings its worker down each time waits longer each time.
    local lost = lost_in_a_row(id) + 1
    local delay = lost > 3 and math.min(2 ^ lost, 600) or 0
    give_up_attempt(id, 'lost', 'its worker went away without a report', delay, lifetime, call_seconds)
  end
end

-- If the clock was set back, they end further ahead than they can.
for _, set in ipairs({RUNNING, PUBLISHED}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, stamp(now + FAR), '+inf', 'LIMIT', 0, limit)) do
    redis.call('ZADD', set, stamp(now + hint), id)
  end
end

local taken = {}
local function publish(id)
  redis.call('ZADD', PUBLISHED, stamp(now + hint), id)
  taken[#taken + 1] = id
end

-- The queue is first in, first out: what is no longer in it are the oldest of the hints.
local published = redis.call('ZCARD', PUBLISHED)
-- A message may have one job alone, so there may be fewer in it than `batch`: what should have been claimed long
-- ago counts as lost in any case.
local overdue = redis.call('ZCOUNT', PUBLISHED, '-inf', stamp(now - OVERDUE))
local lost = math.min(math.max(published - queued * tonumber(batch), overdue), size - queued, limit)
if lost > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', PUBLISHED, '-inf', stamp(now), 'LIMIT', 0, lost)) do
    publish(id)
  end
end

local room = math.min(size - math.max(published, queued + #taken), limit - #taken)

-- Those whose time is over are told so, whatever they wait for: no call is made for them.
local is_served = {}
for i = 1, #rates, 2 do is_served[rates[i]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', stamp(now), 'LIMIT', 0, math.max(room, 0))) do
  local account = redis.pcall('HGET', record(id), 'account') -- it may be no hash
  if redis.call('EXISTS', record(id)) == 0 then
    redis.call('ZREM', EXPIRING, id)
  else
    redis.call('ZADD', EXPIRING, stamp(now + LATER), id)
    if type(account) == 'string' and is_served[account] and not is_left_alone(id) and redis.call('ZREM', WAITING, id) == 1 then
      leave_line(id)
      publish(id)
      room = room - 1
    end
  end
end

-- Of the new jobs of accounts that are not served here one is tried once in so many seconds all the same, so that its
-- record says what is wrong.
local TRY_SECONDS = 10
local function tries_once(id, account)
  if is_served[account] or room <= 0 then return false end
  local tried_at = tonumber(redis.call('HGET', ORDER, 'tried_at') or 0)
  if tried_at <= now and tried_at + TRY_SECONDS > now or redis.call('ZREM', WAITING, id) == 0 then return false end
  redis.call('HSET', ORDER, 'tried_at', stamp(now))
  leave_line(id)
  publish(id)
  room = room - 1
  return true
end
local accounts, more, next_due = #rates / 2, line_up_due(limit, tries_once), nil
-- How many of an account's jobs are in the pipe. Once they all were, that is believed for a second: to read the
-- account of each job would cost half of this step.
local SOLE_SECONDS = 1
local function inside_of(account)
  local was, published = redis.call('HMGET', ORDER, 'sole', 'sole_until'), redis.call('ZCARD', PUBLISHED)
  local ends = tonumber(was[2] or 0)
  if was[1] == account and ends > now and ends <= now + SOLE_SECONDS then return published end
  local inside = in_pipe(account)
  if inside == published then redis.call('HSET', ORDER, 'sole', account, 'sole_until', stamp(now + SOLE_SECONDS)) end
  return inside
end
-- Each account its share first, then what others have left. There may be room for one job alone: so it begins
-- behind the account that was served last.
local first_account, served_last = 0, accounts > 1 and redis.call('HGET', ORDER, 'served last')
for n = 1, accounts do
  if rates[2 * n - 1] == served_last then first_account = n end
end
local rounds = accounts > 1 and 2 or 1
for round = 1, rounds do
  for n = 0, accounts - 1 do
    local i = 1 + (first_account + n) % accounts * 2
    local account = rates[i]
    local all, bulk, opens, is_probe, gate = rooms(account, tonumber(rates[i + 1]), size, redis.call('ZCARD', PUBLISHED), inside_of)
    local share = math.min(round == 1 and math.ceil(room / accounts) or room, all)
    local count = share > 0 and serve(account, share, bulk, publish, is_probe, gate) or 0
    if count > 0 and accounts > 1 then redis.call('HSET', ORDER, 'served last', account) end
    room = room - count
    if round == rounds and in_line(account) > 0 then next_due = math.min(next_due or math.huge, opens) end
  end
end
if (more or room > 0 and (next_due or IDLE) >= IDLE) and redis.call('ZCOUNT', WAITING, '-inf', stamp(now)) > 0 then
  -- Somebody waits, perhaps one who is in no line of these accounts.
  if more or line_up_missing(limit) > 0 then next_due = 0 end
end
local first = redis.call('ZRANGEBYSCORE', WAITING, '(' .. stamp(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if first[2] then next_due = math.min(next_due or math.huge, tonumber(first[2]) - now) end
return {taken, next_due and stamp(math.max(next_due, 0)) or '-1', redis.call('ZCARD', PUBLISHED)}
