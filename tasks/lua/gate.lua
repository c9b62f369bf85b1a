-- The gate of an account: what its jobs share, and what it lets through. Pure functions of a gate, an instant and an app; `gate_of`, `keep_gate`, `app_of`, `in_pipe` and the
-- shortcut alone touch Redis. A gate's fields are described in tasks/gate.py.

-- How far ahead bulk jobs are let into the pipe, and interactive ones, for which there must be room; no
-- thread waits for its turn longer than that.
local AHEAD_SECONDS, TURN_SECONDS = 0.18, 0.5
-- Where there is no limit, bulk jobs fill the pipe with what is done in so many seconds, or these few: with
-- less some workers run dry while others have jobs, and with more an interactive one waits longer.
local FREE_AHEAD_SECONDS, BULK_LEAST = 0.4, 32
-- Seconds between two calls while what a 429 told to wait was too short: the next may meet the limit again.
local CAREFUL_SECONDS = 0.2
-- What was not used in so many seconds may be made up for.
local BURST_SECONDS = 0.02
-- After a 429 the rate is this part of what went through. It grows by a cubic (as TCP's CUBIC and
-- AWS's adaptive retries): fast at first, slowly where the limit was met, then faster again.
local LESS, GROWTH = 0.9, 0.0005
-- A 429 that tells how long to wait makes all calls wait. So the rate stays just below the limit (NEAR), and
-- grows SLOWER times as slowly for each second of that wait, SLOWEST times at most.
local NEAR, LESS_TOLD, SLOWER, SLOWEST = 0.96, 0.985, 8, 60
-- While it is away it is asked this often; when it is back, the rate grows for so long.
local BROKEN_PROBE, RAMP_SECONDS, RAMP_LEAST = 1, 10, 20
-- A refused account is asked every `probe` seconds, so many times, then less and less often.
local PROBES, PROBE_GROWTH, PROBE_MOST = 4, 1.5, 300
-- Whatever an answer tells, a call is made WAIT_MOST seconds later at the latest (tasks/retry_after.py).
local WAIT_MOST = 600
-- Redis's clock may be set back: an instant that is further ahead than it can be is moved to the latest
-- that it can be.
local AHEAD_MOST = {wait_until = WAIT_MOST, probe_at = 2 * PROBE_MOST, second = 0, ok_at = 0,
  learnt_at = 0, limited_at = 0, counted_at = 0, rejected_at = 0, broken_at = 0, ramp_at = 0, down_at = 0, open_at = 0,
  paused_at = 0, alarmed_at = 0, hinted_at = 0}

local function gate_key(account) return PREFIX .. 'gate:' .. account end

local function gate_of(account)
  local flat = redis.call('HGETALL', gate_key(account))
  local gate, moved, back = {key = gate_key(account), changed = {}}, {}, 0
  for i = 1, #flat, 2 do
    local name, value = flat[i], tonumber(flat[i + 1]) or flat[i + 1]
    local ahead = AHEAD_MOST[name]
    if ahead and type(value) == 'number' and value > now + ahead then
      if name == 'limited_at' then back = value - now end
      value = now + ahead
      moved[#moved + 1] = name
    end
    gate[name] = value
  end
  if not moved[1] then return gate end
  -- The clock was set back. What is moved is kept, or it would move on with the clock.
  if back > 0 and gate.wait_until then
    gate.wait_until = math.max(tonumber(redis.call('HGET', gate.key, 'wait_until')) - back, now)
    moved[#moved + 1] = 'wait_until'
  end
  if gate.broken_at and not gate.rejected_at then
    gate.probe_at = math.min(gate.probe_at or 0, now + BROKEN_PROBE)
    moved[#moved + 1] = 'probe_at'
  end
  for _, name in ipairs(moved) do redis.pcall('HSET', gate.key, name, string.format('%.6f', gate[name])) end
  return gate
end

-- The app of a job, as a gate has it. An app's id may look like a number, this does not.
local function app_of(id)
  return 'app ' .. (redis.pcall('HGET', record(id), 'app_id') or '')
end

local function put(gate, name, value)
  gate[name] = value
  gate.changed[name] = true
end

local function keep_gate(gate)
  for name in pairs(gate.changed) do
    local value = gate[name]
    if value == nil then
      redis.call('HDEL', gate.key, name)
    else
      redis.call('HSET', gate.key, name, type(value) == 'number' and string.format('%.6f', value) or value)
    end
  end
end

-- Why no job of an app may pass, if none may; and the seconds until that is looked at again. A gate with `only`
-- is closed for that app alone. Without an `app`: why the gate is closed for any.
local function closed(gate, at, app)
  if gate.paused_at and at < (gate.paused_until or math.huge) then
    return 'paused', (gate.paused_until or math.huge) - at
  end
  if not (gate.only and app and gate.only ~= app) then
    if gate.rejected_at then return 'rejected', gate.probe_at - at end
    if gate.broken_at then return 'unavailable', gate.probe_at - at end
  end
  if gate.wait_until and at < gate.wait_until then return 'limited', gate.wait_until - at end
end

-- For how many seconds of its life it has been closed: no job's time runs meanwhile.
local function time_closed(gate, at)
  return (gate.down or 0) + (gate.down_at and at - gate.down_at or 0)
end

local function note_closed(gate, at)
  if closed(gate, at) then
    if not gate.down_at then put(gate, 'down_at', at) end
  elseif gate.down_at then
    put(gate, 'down', time_closed(gate, at))
    put(gate, 'down_at', nil)
    put(gate, 'open_at', at)
  end
end

-- Calls a second that may be made, `most` (0 for no end) being what the settings say.
local function rate_at(gate, at, most)
  local rate = most > 0 and most or math.huge
  if gate.announced then rate = math.min(rate, gate.announced) end
  if gate.top then
    local less = gate.retry_after and LESS_TOLD or LESS
    local slower = math.min(math.max(SLOWER * (gate.retry_after or 0), 1), SLOWEST)
    local since = (at - gate.learnt_at) / slower - ((1 - less) / GROWTH) ^ (1 / 3)
    rate = math.min(rate, gate.top * (1 + GROWTH * since ^ 3))
  end
  if gate.ramp_at and at < gate.ramp_at + RAMP_SECONDS then
    local share = 0.1 + 0.9 * math.max(at - gate.ramp_at, 0) / RAMP_SECONDS
    rate = math.min(rate, gate.ramp_to * share)
  end
  return rate
end

-- A shortcut: whether a gate lets everything through and learns nothing from a success, as most do at
-- most times. For how many seconds of its life it was closed, and what it has counted: the second, calls
-- in it; and `alarmed`. Nothing for any other gate, which is read and asked as a whole.
local function open_for_all(account, at, most)
  if most > 0 then return end
  local was = redis.call('HMGET', gate_key(account), 'paused_at', 'rejected_at', 'broken_at', 'down_at', 'announced',
                         'top', 'bad', 'wait_until', 'ramp_at', 'down', 'second', 'count', 'alarmed')
  for i = 1, 7 do
    if was[i] then return end
  end
  if was[8] and tonumber(was[8]) > at or was[9] and tonumber(was[9]) + RAMP_SECONDS > at then return end
  return tonumber(was[10] or 0), tonumber(was[11] or nil), tonumber(was[12] or nil), was[13]
end

-- When the next call may be made. No attempts take more than TURNS_AHEAD turns ahead of their time.
local TURNS_AHEAD, LEAST_AHEAD = 1000, 10
local function turn_of(gate, at, rate)
  local turn = gate.turn or 0
  return turn > at + math.max(LEAST_AHEAD, TURNS_AHEAD / rate) and at or turn
end

-- Whether what a 429 told to wait was too short, and nothing went through since.
local function is_careful(gate) return gate.short ~= nil end

-- May a call be made? The seconds until its turn, which is taken with this; or nothing, the reason
-- and the seconds until it may be asked again. What an attempt has begun it may go on with: a
-- further call takes the next turn, and those that come behind wait the longer.
local function ask(gate, at, most, probe, is_further, app)
  local why, again = closed(gate, at, app)
  if why == 'rejected' and again <= 0 then
    put(gate, 'probes', gate.probes + 1)
    local pause = probe * PROBE_GROWTH ^ math.max(gate.probes + 1 - PROBES, 0)
    put(gate, 'probe_at', at + math.min(pause, math.max(PROBE_MOST, probe)))
    return 0
  elseif why == 'unavailable' and again <= 0 then
    put(gate, 'probe_at', at + BROKEN_PROBE)
    return 0
  elseif why then
    return nil, why, again
  end
  local rate = rate_at(gate, at, most)
  if rate == math.huge then return 0 end
  local turn = math.max(turn_of(gate, at, rate), at - BURST_SECONDS)
  if turn - at > (is_careful(gate) and 0 or TURN_SECONDS) and not is_further then
    return nil, 'rate', turn - at - (is_careful(gate) and 0 or AHEAD_SECONDS)
  end
  local following = turn + 1 / rate
  if is_careful(gate) then following = math.max(following, at + CAREFUL_SECONDS) end
  -- The settings may ask for a slower pace, answers may not.
  if rate ~= most then following = math.min(following, math.max(turn, at + WAIT_MOST)) end
  put(gate, 'turn', following)
  return math.min(math.max(turn - at, 0), TURN_SECONDS)
end

-- How many jobs may be in the pipe just now for the next `ahead` seconds (`size` at most), and the
-- seconds until more may be. Where the gate is closed for one app alone, this is about the others.
local function room(gate, at, most, size, ahead)
  local why, again = closed(gate, at, gate.only and '')
  if why == 'rejected' or why == 'unavailable' then
    if again <= 0 then return 1, 0 end
    return 0, again
  elseif why then
    return 0, again
  end
  local rate = rate_at(gate, at, most)
  if rate == math.huge then return size, 0 end
  local from = math.max(turn_of(gate, at, rate), at)
  if is_careful(gate) then return from <= at and 1 or 0, math.max(from - at, 0) end
  local turns = math.ceil((at + ahead - from) * rate)
  if turns > 0 then return math.min(turns, size), 0 end
  return 0, from - at - ahead
end

-- How many of an account's jobs are in the pipe.
local function in_pipe(account)
  local count = 0
  for _, id in ipairs(redis.call('ZRANGE', PUBLISHED, 0, -1)) do
    local of = redis.pcall('HGET', record(id), 'account') -- it may be no record at all
    if type(of) ~= 'string' or of == account then count = count + 1 end
  end
  return count
end

-- How many more of an account's jobs may go into the pipe, how many of them if they are bulk, and the
-- seconds until more may; then whether the one that may is a probe, and the gate. `published` is how many
-- of all accounts are there; `inside_of`, if given, is asked in the place of `in_pipe`.
local function rooms(account, most, size, published, inside_of)
  inside_of = inside_of or in_pipe
  local gate = gate_of(account)
  local is_probe = (gate.rejected_at or gate.broken_at) and not gate.only
  local all, opens = room(gate, now, most, size, TURN_SECONDS)
  if all == 0 then return 0, 0, opens, is_probe, gate end
  local bulk = room(gate, now, most, size, AHEAD_SECONDS)
  if all == size then
    local lately = gate.second and now - gate.second < 2 and math.max(gate.last, gate.count) or 0
    bulk = math.min(size, math.max(BULK_LEAST, math.ceil(lately * FREE_AHEAD_SECONDS)))
    -- The pipe is everybody's, the part for bulk jobs each account's own.
    local inside = published < bulk and published or inside_of(account)
    return size - published, bulk - inside, opens, is_probe, gate
  end
  local inside = inside_of(account)
  return all - inside, bulk - inside, opens, is_probe, gate
end
