-- The gate of an account: what its jobs share. Put before every step, behind the prelude.
-- Pure functions of a gate, an instant and what happened; `gate_of`, `keep_gate` and the two shortcuts
-- alone touch Redis. A gate's fields are described in tasks/gate.py.

-- How far ahead bulk jobs are let into the pipe, and interactive ones, for which there must be room; no
-- thread waits for its turn longer than that.
local AHEAD_SECONDS, TURN_SECONDS = 0.18, 0.5
-- Where there is no limit, bulk jobs fill the pipe with what is done in so many seconds, or these few: with
-- less some workers run dry while others have jobs, and with more an interactive one waits longer.
local FREE_AHEAD_SECONDS, BULK_LEAST = 0.4, 32
-- What was not used in so many seconds may be made up for.
local BURST_SECONDS = 0.02
-- A little less than what is allowed, as calls do not arrive as evenly as they were let through.
local MARGIN = 0.975
-- After a 429 the rate is this part of what went through. It grows by a cubic (as TCP's CUBIC and
-- AWS's adaptive retries): fast at first, slowly where the limit was met, then faster again.
local LESS, GROWTH = 0.9, 0.0005
local FLAT_AFTER = ((1 - LESS) / GROWTH) ^ (1 / 3)
-- Where a call is refused behind one that was, the next is made so many seconds later.
local SOON = 0.2
-- What went through is known so many seconds after the gate opened; a 429 may come when there was not
-- much to do yet, and no plan of CometChat allows less than 500 calls a minute.
local SETTLED, LOWEST_PLAN = 2, 500 / 60
-- The API counts as away when so many different jobs failed of it, and so large a share of the
-- latest calls; what was so many seconds ago counts half.
local BAD_JOBS, BAD_SHARE, HALF_LIFE = 8, 0.5, 5
-- While it is away it is asked this often; when it is back, the rate grows for so long.
local BROKEN_PROBE, RAMP_SECONDS, RAMP_LEAST = 1, 10, 20
-- A refused account is asked every `probe` seconds, so many times, then less and less often.
local PROBES, PROBE_GROWTH, PROBE_MOST = 4, 1.5, 300

local function gate_key(account) return KEYS[1] .. 'gate:' .. account end

local function gate_of(account)
  local flat = redis.call('HGETALL', gate_key(account))
  local gate = {key = gate_key(account), changed = {}}
  for i = 1, #flat, 2 do gate[flat[i]] = tonumber(flat[i + 1]) or flat[i + 1] end
  return gate
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

-- Why no job may pass, if none may; and the seconds until that is looked at again.
local function closed(gate, at)
  if gate.paused_at and at < (gate.paused_until or math.huge) then
    return 'paused', (gate.paused_until or math.huge) - at
  end
  if gate.rejected_at then return 'rejected', gate.probe_at - at end
  if gate.broken_at then return 'unavailable', gate.probe_at - at end
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
    local since = at - gate.learnt_at - FLAT_AFTER
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
-- in it. Nothing for any other gate, which is read and asked as a whole.
local function open_for_all(account, at, most)
  if most > 0 then return end
  local was = redis.call('HMGET', gate_key(account), 'paused_at', 'rejected_at', 'broken_at', 'down_at', 'announced',
                         'top', 'bad', 'wait_until', 'ramp_at', 'down', 'second', 'count')
  for i = 1, 7 do
    if was[i] then return end
  end
  if was[8] and tonumber(was[8]) > at or was[9] and tonumber(was[9]) + RAMP_SECONDS > at then return end
  return tonumber(was[10] or 0), tonumber(was[11] or nil), tonumber(was[12] or nil)
end

-- May a call be made? The seconds until its turn, which is taken with this; or nothing, the reason
-- and the seconds until it may be asked again. What an attempt has begun it may go on with: a
-- further call takes the next turn, and those that come behind wait the longer.
local function ask(gate, at, most, probe, is_further)
  local why, again = closed(gate, at)
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
  local turn = math.max(gate.turn or 0, at - BURST_SECONDS)
  if turn - at > TURN_SECONDS and not is_further then return nil, 'rate', turn - at - AHEAD_SECONDS end
  put(gate, 'turn', turn + 1 / rate)
  return math.min(math.max(turn - at, 0), TURN_SECONDS)
end

-- How many jobs may be in the pipe just now for the next `ahead` seconds (`size` at most), and the
-- seconds until more may be.
local function room(gate, at, most, size, ahead)
  local why, again = closed(gate, at)
  if why == 'rejected' or why == 'unavailable' then
    if again <= 0 then return 1, 0 end
    return 0, again
  elseif why then
    return 0, again
  end
  local rate = rate_at(gate, at, most)
  if rate == math.huge then return size, 0 end
  local from = math.max(gate.turn or 0, at)
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
-- seconds until more may. `published` is how many of all accounts are there.
local function rooms(account, most, size, published)
  local gate = gate_of(account)
  local is_probe = gate.rejected_at or gate.broken_at
  local all, opens = room(gate, now, most, size, TURN_SECONDS)
  if all == 0 then return 0, 0, opens end
  local bulk = room(gate, now, most, size, AHEAD_SECONDS)
  if all == size then
    local lately = gate.second and now - gate.second < 2 and math.max(gate.last, gate.count) or 0
    bulk = math.min(size, math.max(BULK_LEAST, math.ceil(lately * FREE_AHEAD_SECONDS)))
    return size - published, bulk - published, opens
  end
  local inside = in_pipe(account)
  return all - inside, bulk - inside, opens, is_probe
end

-- So many calls went through, of an attempt that has just ended.
local function count_calls(gate, at, calls)
  if calls <= 0 then return end
  local second = math.floor(at)
  if gate.second ~= second then
    local last = gate.second == second - 1 and gate.count or 0
    put(gate, 'last', last)
    put(gate, 'peak', math.max(last, 0.98 * (gate.peak or 0)))
    put(gate, 'second', second)
    put(gate, 'count', 0)
  end
  put(gate, 'count', gate.count + calls)
end

local function is_among(ids, id)
  for one in string.gmatch(ids or '', '%S+') do
    if one == id then return true end
  end
end

local function forget_outage(gate)
  for _, name in ipairs({'broken_at', 'rejected_at', 'probe_at', 'probes', 'ok', 'bad', 'counted_at',
                         'bad_jobs', 'words'}) do
    if gate[name] then put(gate, name, nil) end
  end
end

local function fade(gate, at)
  local part = 0.5 ^ ((at - (gate.counted_at or at)) / HALF_LIFE)
  put(gate, 'ok', (gate.ok or 0) * part)
  put(gate, 'bad', (gate.bad or 0) * part)
  put(gate, 'counted_at', at)
end

local function hear_ok(gate, at)
  put(gate, 'ok_at', at)
  if gate.broken_at then
    put(gate, 'ramp_at', at)
    put(gate, 'ramp_to', math.max(gate.peak or 0, RAMP_LEAST))
  end
  if gate.broken_at or gate.rejected_at then
    forget_outage(gate)
  elseif gate.bad then
    fade(gate, at)
    put(gate, 'ok', gate.ok + 1)
    if gate.bad < 0.1 then forget_outage(gate) end
  end
end

-- Several failures of one job are one: the API may break on this one alone.
local function hear_bad(gate, at, id)
  if gate.broken_at or gate.rejected_at or is_among(gate.bad_jobs, id) then return end
  fade(gate, at)
  put(gate, 'bad', gate.bad + 1)
  put(gate, 'bad_jobs', (gate.bad_jobs and gate.bad_jobs .. ' ' or '') .. id)
  local _, jobs = string.gsub(gate.bad_jobs, '%S+', '')
  if jobs > BAD_JOBS then put(gate, 'bad_jobs', string.match(gate.bad_jobs, '%s(.*)$')) end
  if gate.bad >= BAD_JOBS - 1 and gate.bad >= BAD_SHARE * (gate.ok + gate.bad) then
    put(gate, 'broken_at', at)
    put(gate, 'probe_at', at + BROKEN_PROBE)
    return 'unavailable'
  end
end

-- Calls a second that went through when a 429 came; what just began again tells nothing.
local function went_through(gate, at, rate)
  if at < (gate.open_at or 0) + SETTLED then return rate end
  return gate.second and at - gate.second < 2 and math.max(gate.last, gate.count) or 0
end

-- A 429 to a call that was made at `since`. It is learnt from once a second: a limit by the second,
-- once exceeded, refuses all that come before it begins anew, at whatever rate.
local function hear_limited(gate, at, since, wait, most, is_announced)
  local tells_when = wait > 0
  if tells_when then
    put(gate, 'wait_until', math.max(gate.wait_until or 0, at + wait))
  end
  -- Whose limit is told needs no other to be learnt: the window was used up, that is all.
  if is_announced and tells_when then return end
  if gate.learnt_at and at < gate.learnt_at + 1 then
    -- Those that were under way when the first one came say nothing new.
    if since > gate.learnt_at then
      -- A limit is mostly met at the end of its second: that is over soon, if not at the latest then.
      local soon = at < gate.learnt_at + SOON and at + SOON or gate.learnt_at + 1
      put(gate, 'turn', math.max(gate.turn or 0, soon))
    end
    return
  end
  local rate, top = rate_at(gate, at, most), nil
  if not gate.learnt_at then
    local least = (tells_when or (gate.ok_at or 0) > at - 60) and LOWEST_PLAN or 1
    top = math.min(rate, math.max(went_through(gate, at, rate), least))
  elseif (gate.ok_at or 0) >= gate.learnt_at then
    top = math.min(rate, math.max(went_through(gate, at, rate), 1))
  elseif tells_when then
    return -- the time that it told was too short, and the rate not tried
  else
    top = rate / 2
  end
  top = math.max(top, 1 / PROBE_MOST)
  put(gate, 'top', top)
  put(gate, 'learnt_at', at)
  put(gate, 'turn', math.max(gate.turn or 0, at + 1 / (LESS * top)))
end

-- Refused credentials are the account's trouble, unless other calls succeed beside them.
local function hear_rejected(gate, at, since, probe)
  if gate.rejected_at or (gate.ok_at and gate.ok_at > since) then return end
  put(gate, 'rejected_at', at)
  put(gate, 'probes', 0)
  put(gate, 'probe_at', at + probe)
  return 'rejected'
end

-- The limit as the API announced it: so many calls, so many left, seconds until it begins anew, and
-- when that is by the API's clock, in whole seconds: two of those tell how long a window is.
local function hear_limit(gate, at, limit, left, reset, ends)
  local before = gate.announced
  if gate.window_end and ends > gate.window_end then
    put(gate, 'window', math.min(gate.window or math.huge, ends - gate.window_end))
  end
  if not gate.window_end or ends > gate.window_end then put(gate, 'window_end', ends) end
  if left < 1 then put(gate, 'wait_until', math.max(gate.wait_until or 0, at + reset)) end
  local rate = gate.window and limit / gate.window or math.huge
  -- The window's length is not known yet, or others use the same credentials: what they leave.
  if not gate.window or reset >= 2 then rate = math.min(rate, (left + 1) / math.max(reset, 1)) end
  put(gate, 'limit', limit)
  put(gate, 'announced', math.max(MARGIN * rate, 1 / PROBE_MOST))
  -- Turns that were taken at a higher rate count as many of the lower one.
  if before and gate.announced < before and gate.turn and gate.turn > at then
    put(gate, 'turn', at + (gate.turn - at) * before / gate.announced)
  end
end

-- An attempt tells the answer that it got. `told` is {what, wait, limit, left, reset, ends}, numbers
-- negative where nothing was said; `since` is when its call was let through, `share` what is left to
-- this program. Returns 'rejected' or 'unavailable' if it is this that closed the gate.
local function tell(gate, at, id, since, told, most, share, probe)
  local news
  -- The last of them alone is what it tells of.
  count_calls(gate, at, (told.answered or 1) - (told.what == 'ok' and 0 or 1))
  if told.what == 'ok' then
    hear_ok(gate, at)
  elseif told.what == 'bad' then
    news = hear_bad(gate, at, id)
  elseif told.what == 'limited' then
    hear_limited(gate, at, since, told.wait, most, told.limit > 0)
  elseif told.what == 'rejected' then
    news = hear_rejected(gate, at, since, probe)
  end
  if told.limit > 0 and told.left >= 0 and told.reset >= 0 then
    hear_limit(gate, at, told.limit * share, told.left * share, told.reset, told.ends)
  end
  note_closed(gate, at)
  return news
end

-- A shortcut, too: a success that says nothing else is counted, if the gate is open for all and has
-- counted others of this second. Whether it was.
local function count_success(account, at, calls)
  local is_open, second, count = open_for_all(account, at, 0)
  if not is_open or second ~= math.floor(at) or not count then return false end
  redis.call('HSET', gate_key(account), 'ok_at', string.format('%.6f', at), 'count', string.format('%.6f', count + calls))
  return true
end

-- What a step's arguments tell the gate, from the `i`th on: what the answer was ('ok', 'bad',
-- 'limited', 'rejected', or '' if no call was made), then as `tell` takes them wait, limit, left,
-- reset, ends; then calls a second that the settings allow, the share of an announced limit, seconds
-- between probes, seconds since the call was let through, calls that were answered; and the account.
-- Returns what `tell` returns, and the gate; nothing if nothing was said, or nothing comes of it.
local function tell_gate(id, i)
  if (ARGV[i] or '') == '' then return end
  local numbers, account = {}, ARGV[i + 11]
  for k = 1, 10 do numbers[k] = tonumber(ARGV[i + k]) end
  if ARGV[i] == 'ok' and numbers[2] < 0 and count_success(account, now, numbers[10]) then return end
  local gate = gate_of(account)
  local told = {what = ARGV[i], wait = numbers[1], limit = numbers[2], left = numbers[3],
                reset = numbers[4], ends = numbers[5], answered = numbers[10]}
  local news = tell(gate, now, id, now - numbers[9], told, numbers[6], numbers[7], numbers[8])
  keep_gate(gate)
  return news, gate
end
