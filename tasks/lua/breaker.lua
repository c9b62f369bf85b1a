-- What a gate learns from answers: how fast calls may be made, and whether it must close. Pure functions of a gate, an instant and what happened; the last two alone touch
-- Redis.

-- A little less than what is allowed, as calls do not arrive as evenly as they were let through.
local MARGIN = 0.975
-- Where a call is refused behind one that was, the next is made so many seconds later.
local SOON = 0.2
-- A wait that was told too short is followed by one SHORT times as long, of SHORT_MOST seconds at most.
local SHORT, SHORT_MOST = 1.5, 10
-- What went through is known so many seconds after the gate opened; a 429 may come when there was not
-- much to do yet, and no plan of CometChat allows less than 500 calls a minute.
local SETTLED, LOWEST_PLAN = 2, 500 / 60
-- The API counts as away when BAD_JOBS different jobs failed, and BAD_SHARE of the latest calls; what was
-- HALF_LIFE seconds ago counts half. If all but one of these jobs are of one app, it is away for that app alone.
local BAD_JOBS, BAD_SHARE, HALF_LIFE, BAD_OTHERS = 8, 0.5, 5, 2
-- People are told again that calls of one app are refused after so many seconds.
local ALARM_SECONDS = 3600
-- An alarm that the attempt did not pass on is passed on by a dispatcher after so many seconds.
local PASS_ON_AFTER = 15

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

local function forget_outage(gate)
  for _, name in ipairs({'broken_at', 'rejected_at', 'met_by', 'only', 'probe_at', 'hinted_at', 'probes', 'others', 'ok', 'bad', 'counted_at',
                         'bad_jobs'}) do
    if gate[name] then put(gate, name, nil) end
  end
end

local function fade(gate, at)
  local part = 0.5 ^ ((at - (gate.counted_at or at)) / HALF_LIFE)
  put(gate, 'ok', (gate.ok or 0) * part)
  put(gate, 'bad', (gate.bad or 0) * part)
  put(gate, 'counted_at', at)
end

-- A success opens the gate, of whichever app it is: what was refused beside it is that job's own trouble.
local function hear_ok(gate, at, since, app)
  if gate.limited_at and since > gate.limited_at then
    put(gate, 'limited_at', nil)
    if is_careful(gate) then -- the others need not be so any more
      put(gate, 'short', nil)
      if gate.turn then put(gate, 'turn', math.min(gate.turn, at)) end
    end
  end
  put(gate, 'ok_at', at)
  -- It was under way when the limit was met, and went through, too.
  if gate.retry_after and gate.second == math.floor(gate.learnt_at) then
    put(gate, 'top', math.max(gate.top, NEAR * math.max(gate.last, gate.count)))
  end
  -- Should this app be refused again, that is news.
  if gate.alarmed and gate.alarmed == app then put(gate, 'alarmed', nil) end
  if gate.broken_at and not gate.only then
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

-- The app that most of the bad jobs are of, and how many are of others. Each is kept as `id@app`.
local function worst_app(bad_jobs)
  local count, total, worst = {}, 0, nil
  for app in string.gmatch(bad_jobs, '%S+@(%S+)') do
    count[app], total = (count[app] or 0) + 1, total + 1
    if not worst or count[app] > count[worst] then worst = app end
  end
  return worst, total - count[worst]
end

-- Several failures of one job are one: the API may break on this one alone. So are those of one app.
local function hear_bad(gate, at, id, app)
  if gate.rejected_at and not gate.only or gate.broken_at and (not gate.only or gate.only == app) then return end
  local token = id .. '@' .. string.gsub(app, '%s', '_')
  if string.find(' ' .. (gate.bad_jobs or '') .. ' ', ' ' .. token .. ' ', 1, true) then return end
  fade(gate, at)
  put(gate, 'bad', gate.bad + 1)
  put(gate, 'bad_jobs', (gate.bad_jobs and gate.bad_jobs .. ' ' or '') .. token)
  local _, jobs = string.gsub(gate.bad_jobs, '%S+', '')
  if jobs > BAD_JOBS then put(gate, 'bad_jobs', string.match(gate.bad_jobs, '%s(.*)$')) end
  if gate.bad < BAD_JOBS - 1 or gate.bad < BAD_SHARE * (gate.ok + gate.bad) then return end
  local worst, others = worst_app(gate.bad_jobs)
  local is_for_all = others >= BAD_OTHERS
  if not is_for_all and (gate.only or worst ~= string.gsub(app, '%s', '_')) then return end
  put(gate, 'rejected_at', nil)
  put(gate, 'only', not is_for_all and app or nil)
  put(gate, 'broken_at', at)
  put(gate, 'probe_at', at + BROKEN_PROBE)
  return 'unavailable'
end

-- Calls a second that went through when a 429 came. Nothing if calls have just begun again at a known rate, as
-- there were too few to tell.
local function went_through(gate, at, rate)
  if rate < math.huge and at < (gate.open_at or 0) + SETTLED then return nil end
  return gate.second and at - gate.second < 2 and math.max(gate.last, gate.count) or 0
end

-- The seconds to wait after a 429 that tells them. A call that was made after an earlier 429 has waited as long as
-- that one told. If none that did has succeeded, that was too short, and the next wait is longer.
local function wait_told(gate, at, since, wait)
  local was = gate.limited_at
  if was and since > was and since >= (gate.wait_until or 0) then put(gate, 'short', (gate.short or 0) + 1) end
  if not was or since > was then put(gate, 'limited_at', at) end
  return math.max(wait, math.min(wait * SHORT ^ (gate.short or 0), SHORT_MOST))
end

-- A 429 to a call that was made at `since`. It is learnt from once a second: a limit by the second,
-- once exceeded, refuses all that come before it begins anew, at whatever rate.
local function hear_limited(gate, at, since, wait, most, is_announced)
  local tells_when = wait > 0
  if tells_when then
    put(gate, 'wait_until', math.max(gate.wait_until or 0, at + wait_told(gate, at, since, wait)))
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
  local rate = rate_at(gate, at, most)
  local through, top = went_through(gate, at, rate), nil
  if not gate.learnt_at then
    local least = (tells_when or (gate.ok_at or 0) > at - 60) and LOWEST_PLAN or 1
    top = math.min(rate, math.max(through or rate, least))
  elseif (gate.ok_at or 0) >= gate.learnt_at then
    top = math.min(rate, math.max(through or rate, 1))
  elseif tells_when then
    return -- the time that it told was too short, and the rate not tried
  else
    top = rate / 2
  end
  -- Where less went through, others may have used it up, and this is a guess.
  local is_known = (through or 0) >= LOWEST_PLAN
  put(gate, 'retry_after', tells_when and is_known and wait or nil)
  top = math.max(gate.retry_after and NEAR * top or top, 1 / PROBE_MOST)
  put(gate, 'top', top)
  put(gate, 'learnt_at', at)
  put(gate, 'turn', math.max(gate.turn or 0, at + 1 / (LESS * top)))
end

-- People are to be told, by the attempt that hears of it; should it die, by a dispatcher.
local function alarm(gate, at, app, id)
  put(gate, 'alarmed', app)
  put(gate, 'alarmed_at', at)
  put(gate, 'alarm_job', 'job ' .. id)
  put(gate, 'alarm_due', at + PASS_ON_AFTER)
  return 'rejected'
end

-- A refusal is the account's trouble if nothing succeeds beside it. Until a second app is refused it may be
-- this app's own: then the others go on. If it is sure to be about the credentials people are told at once, else
-- when a second app is refused, or this one again when it is tried anew.
local function hear_rejected(gate, at, since, probe, id, app, is_sure)
  if gate.ok_at and gate.ok_at > since then return end
  if gate.rejected_at then
    local is_told = gate.alarmed_at and gate.alarmed_at >= gate.rejected_at
    if not gate.only then return end
    if gate.only ~= app then
      put(gate, 'only', nil)
    elseif gate.probes - (gate.others or 0) < 1 then
      return
    end
    if not is_told then return alarm(gate, at, gate.only or 'all', id) end
    return
  end
  put(gate, 'only', not (gate.broken_at and not gate.only) and app or nil)
  if gate.only then put(gate, 'broken_at', nil) end
  put(gate, 'rejected_at', at)
  put(gate, 'met_by', 'job ' .. id)
  put(gate, 'probes', 0)
  put(gate, 'probe_at', at + probe)
  local is_old = gate.alarmed == app and at < gate.alarmed_at + ALARM_SECONDS
  if is_sure and not is_old then return alarm(gate, at, app, id) end
end

-- The limit as the API announced it: so many calls, so many left, seconds until it begins anew, and
-- when that is by the API's clock, in whole seconds: two of those tell how long a window is.
local function hear_limit(gate, at, limit, left, reset, ends)
  local before = gate.announced
  if gate.window_end and ends > gate.window_end then
    put(gate, 'window', math.min(gate.window or math.huge, ends - gate.window_end))
  end
  if not gate.window_end or ends > gate.window_end then put(gate, 'window_end', ends) end
  if left < 1 then put(gate, 'wait_until', math.max(gate.wait_until or 0, at + math.min(reset, WAIT_MOST))) end
  local rate = gate.window and limit / gate.window or math.huge
  -- The window's length is not known yet, or others use the same credentials: what they leave.
  if not gate.window or reset >= 2 then rate = math.min(rate, (left + 1) / math.max(reset, 1)) end
  put(gate, 'limit', limit)
  put(gate, 'announced', math.max(MARGIN * rate, 1 / PROBE_MOST))
  -- Turns that were taken at a higher rate count as many of the lower one.
  if before and gate.announced < before and gate.turn and gate.turn > at then
    local later = at + (gate.turn - at) * before / gate.announced
    put(gate, 'turn', math.min(later, math.max(gate.turn, at + WAIT_MOST)))
  end
end

-- An attempt tells the answer that it got. `told` is {what, wait, limit, left, reset, ends, app}, numbers
-- negative where nothing was said; 'rejected' is about the credentials for sure, 'refused' perhaps, and 'own'
-- is the job's own trouble, whatever the answer was; `since` is when its call was let through, `share` what is left to
-- this program. Returns 'unavailable' if it is this that closed the gate, and 'rejected' if people are to be told of that.
local function tell(gate, at, id, since, told, most, share, probe)
  local news
  -- The last of them alone is what it tells of.
  count_calls(gate, at, (told.answered or 1) - (told.what == 'ok' and 0 or 1))
  if told.what == 'ok' then
    hear_ok(gate, at, since, told.app)
  elseif told.what == 'bad' then
    news = hear_bad(gate, at, id, told.app)
  elseif told.what == 'limited' then
    hear_limited(gate, at, since, told.wait, most, told.limit > 0)
  elseif told.what == 'rejected' or told.what == 'refused' then
    news = hear_rejected(gate, at, since, probe, id, told.app, told.what == 'rejected')
  end
  if told.limit > 0 and told.left >= 0 and told.reset >= 0 then
    hear_limit(gate, at, told.limit * share, told.left * share, told.reset, told.ends)
  end
  note_closed(gate, at)
  return news
end

-- A shortcut, too: a success that says nothing else is counted, if the gate is open for all and has
-- counted others of this second. Whether it was.
local function count_success(id, account, at, calls)
  local is_open, second, count, alarmed = open_for_all(account, at, 0)
  if not is_open or second ~= math.floor(at) or not count then return false end
  if alarmed and alarmed == app_of(id) then return false end
  redis.call('HSET', gate_key(account), 'ok_at', string.format('%.6f', at), 'count', string.format('%.6f', count + calls))
  return true
end

-- What a step's arguments tell the gate: `what` the answer was ('ok', 'bad', 'limited', 'rejected', 'refused', 'own', or
-- '' if no call was made), then `wait`, `limit`, `left`, `reset` and `ends` as `tell` takes them; calls a second that the
-- settings allow, the share of an announced limit, seconds between probes, seconds since the call was let through,
-- calls that were answered; and the account.
-- Returns what `tell` returns, and the gate; nothing if nothing was said, or nothing comes of it.
local function tell_gate(id, what, wait, limit, left, reset, ends, most, share, probe, ago, answered, account)
  if what == '' then return end
  limit, answered = tonumber(limit), tonumber(answered)
  if what == 'ok' and limit < 0 and count_success(id, account, now, answered) then return end
  local gate = gate_of(account)
  local told = {what = what, wait = tonumber(wait), limit = limit, left = tonumber(left),
                reset = tonumber(reset), ends = tonumber(ends), answered = answered, app = app_of(id)}
  local news = tell(gate, now, id, now - tonumber(ago), told, tonumber(most), tonumber(share), tonumber(probe))
  keep_gate(gate)
  return news, gate
end
