-- What all steps use. PREFIX is that of all keys; see tasks/jobs.py for what each holds.
local WAITING, PUBLISHED = PREFIX .. 'waiting', PREFIX .. 'published'
local RUNNING, FAILED = PREFIX .. 'running', PREFIX .. 'failed'
local INDEX, UNTOLD = PREFIX .. 'index', PREFIX .. 'untold'
local EXPIRING = PREFIX .. 'expiring'
local WAKE = PREFIX .. 'wake'
-- Of the records' layout. One of a later version is left to the workers that know it.
local VERSION = 1
local HISTORY_LIMIT = 20
-- Unix seconds from which on no calendar goes.
local LATEST = 253402300800
-- Seconds after which what the result backend was not told by whoever should is told by another.
local TELL_AFTER = 15

-- A list from the `first`th on.
local function rest(list, first)
  local from_there = {}
  for i = first, #list do from_there[#from_there + 1] = list[i] end
  return from_there
end

local function record(id) return PREFIX .. 'job:' .. id end
local function sealed_key(id) return PREFIX .. 'sealed:' .. id end

-- A dispatcher is to look now: some job is due. One entry is enough for all that came until it looks.
local function wake_dispatcher()
  local kind = redis.call('TYPE', WAKE).ok
  if kind == 'list' then return end
  if kind ~= 'none' then redis.call('DEL', WAKE) end -- somebody else's
  redis.call('RPUSH', WAKE, '1')
end

-- The instant of this step: begun anew with each, as `time` and `now` are the same throughout one.
local time, now
local function begin()
  time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
-- Rounded down: what is due now must not lie half a millisecond ahead.
local function stamp(instant) return string.format('%.3f', math.floor(instant * 1000) / 1000) end

local function fields_of(id)
  local flat, fields = redis.call('HGETALL', record(id)), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function is_object(text)
  return not text or (string.find(text, '^%s*{') and (pcall(cjson.decode, text)))
end

local STATES = {PENDING = 1, STARTED = 1, RETRY = 1, SUCCESS = 1, FAILURE = 1, REVOKED = 1}

-- What makes a record unreadable, if anything does.
local function flaw_of(fields)
  for _, name in ipairs({'account', 'app_id', 'webhook', 'webhook_version'}) do
    if not fields[name] then return name .. ' is missing' end
  end
  if not STATES[fields.state or ''] then return 'state is none of the states' end
  for _, name in ipairs({'v', 'attempt', 'attempts', 'holds'}) do
    if not string.find(fields[name] or (name == 'holds' and '0' or ''), '^%d+$') then
      return name .. ' is not a number'
    end
  end
  for _, name in ipairs({'created_at', 'due_at', 'started_at', 'ended_at', 'first_attempt_at', 'expires_at'}) do
    local text = fields[name] or (name == 'created_at' and '' or '0')
    if not (string.find(text, '^%d+%.?%d*$') and tonumber(text) < LATEST) then
      return name .. ' is not a time'
    end
  end
  if not string.find(fields.webhook_version, '^%d*$') then return 'webhook_version is none' end
  for _, name in ipairs({'webhook', 'result', 'error'}) do
    if not is_object(fields[name]) then return name .. ' is not JSON' end
  end
  for line in string.gmatch(fields.history or '', '[^\n]+') do
    if not is_object(line) then return 'history is not JSON' end
  end
end

-- A record of a later layout is left to those who know it, one that cannot be read to a person: they
-- are looked at again after so many seconds, and are in nobody's way.
local LATER = 30
local function is_newer(id)
  local version = redis.pcall('HGET', record(id), 'v') -- it may be no hash
  return type(version) == 'string' and (tonumber(version) or 0) > VERSION
end
local function is_damaged(id) return not is_newer(id) and flaw_of(fields_of(id)) ~= nil end -- if it is a hash
local function is_left_alone(id)
  local kind = redis.call('TYPE', record(id)).ok
  if kind ~= 'hash' then return kind ~= 'none' end
  return is_newer(id) or is_damaged(id)
end

-- The fence: whether this attempt was the last to claim the job. The number alone does not tell:
-- it begins anew in a job that was forgotten and enqueued again, and after a fail-over.
local function is_latest(id, attempt, token)
  local was = redis.call('HMGET', record(id), 'attempt', 'token')
  return was[1] == attempt and was[2] == token
end

local function remember(id, entry)
  if entry == '' then return end
  local history = redis.call('HGET', record(id), 'history')
  history = history and (history .. '\n' .. entry) or entry
  local _, breaks = string.gsub(history, '\n', '')
  for _ = HISTORY_LIMIT, breaks do history = string.match(history, '\n(.*)$') end
  redis.call('HSET', record(id), 'history', history)
end

-- How many of the latest attempts ended with their workers.
local function lost_in_a_row(id)
  local lost = 0
  for line in string.gmatch(redis.call('HGET', record(id), 'history') or '', '[^\n]+') do
    lost = string.find(line, '"outcome":"lost"', 1, true) and lost + 1 or 0
  end
  return lost
end

-- An attempt that started and never reported: nobody knows whether it had its effect.
local function remember_lost(id, outcome, words)
  local was = redis.call('HMGET', record(id), 'attempt', 'started_at', 'worker')
  remember(id, cjson.encode({attempt = tonumber(was[1]), at = tonumber(was[2]),
                             worker = was[3] or nil, outcome = outcome, message = words}))
end
