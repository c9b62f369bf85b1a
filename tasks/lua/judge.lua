-- Look whether jobs are where they belong, each with its record and all sets at one instant, and
-- mend what is wrong if asked: no job is lost by it, and none runs twice.
--: judge(mends, source, places, lifetime, lease, queued, unattended, patience, call_seconds, ids...)
-- `mends` is 1 to mend; `source` where the ids are from ('job': their records, else a set); `places` where a job of each
-- state belongs (JSON); the messages in the queue hint at `queued` jobs at most; `unattended` the sets whose overdue entries nobody sees to,
-- being overdue after `patience` seconds; `lifetime`, `lease` and `call_seconds` are those of other steps.
-- Returns {id, what is wrong, details, 1 if mended} for each finding.
local mend, belongs = mends == '1', cjson.decode(places)
local overdue = now - tonumber(patience)
lifetime, lease, queued = tonumber(lifetime), tonumber(lease), tonumber(queued)
-- Where an entry without a record may be; it is reported from the first that has it.
local SETS = {'index', 'failed', 'untold', 'waiting', 'published', 'running'}
local PLACES = {'waiting', 'published', 'running', 'failed'}

local findings = {}
local function found(id, what, details, mended)
  findings[#findings + 1] = {id, what, details, mended and 1 or 0}
end

local function scores_of(id)
  local scores = {}
  for _, name in ipairs(SETS) do
    scores[name] = tonumber(redis.call('ZSCORE', PREFIX .. name, id) or nil)
  end
  return scores
end

local function judge_entries(id, scores)
  if source == 'sealed' then
    found(id, 'no record', 'sealed', mend)
    if mend then redis.call('DEL', sealed_key(id)) end
    return
  end
  local first
  local ghosts = {}
  for _, name in ipairs(SETS) do
    local score = scores[name]
    if score then
      first = first or name
      -- Ids of expired records stay in the index until the daily `prune`; workers see to what is untold.
      local natural = name == 'untold' or name == 'index' and score + lifetime <= now
      if not natural then
        ghosts[#ghosts + 1] = name
      end
    end
  end
  if source ~= first or #ghosts == 0 then return end
  found(id, 'no record', table.concat(ghosts, ', '), mend)
  if mend then
    for _, name in ipairs(ghosts) do redis.call('ZREM', PREFIX .. name, id) end
  end
end

local function put_where_it_belongs(id, fields, scores, allowed)
  if scores.running and not allowed.running then
    if fields.state == 'PENDING' or fields.state == 'RETRY' then
      redis.call('HSET', record(id), 'unknown', '1')
    end
  end
  for _, name in ipairs(PLACES) do
    if scores[name] and not allowed[name] then redis.call('ZREM', PREFIX .. name, id) end
  end
  if allowed.waiting then
    redis.call('ZREM', PUBLISHED, id)
    wait_until(id, math.max(now, tonumber(fields.due_at) or 0))
  elseif allowed.running and not scores.running then
    -- A worker that runs it renews this; else it ends, and a dispatcher sees to the job.
    redis.call('ZADD', RUNNING, stamp(now + lease), id)
  elseif allowed.failed and not scores.failed then
    redis.call('ZADD', FAILED, stamp(tonumber(fields.ended_at) or now), id)
  end
end

local function judge_place(id, fields, scores)
  local allowed, right, where = {}, 0, {}
  for _, name in ipairs(belongs[fields.state]) do allowed[name] = true end
  for _, name in ipairs(PLACES) do
    if scores[name] then
      where[#where + 1] = name
      right = right + (allowed[name] and 1 or 2)
    end
  end
  if right == (next(allowed) and 1 or 0) then return true end
  local places = where[1] and table.concat(where, ', ') or 'no set'
  found(id, 'misplaced', fields.state .. ' in ' .. places, mend)
  if mend then put_where_it_belongs(id, fields, scores, allowed) end
  return mend
end

-- Entries whose time is over and that nobody sees to, as no dispatcher runs.
local function judge_time(id, fields, scores)
  local function left(name)
    return scores[name] and scores[name] < overdue and string.find(unattended, name, 1, true)
  end
  if scores.running and not (fields.worker and fields.started_at) then
    found(id, 'no worker', '', mend)
    if mend then give_up_attempt(id, 'lost', 'its record did not say who ran it', 0, lifetime, call_seconds) end
  elseif left('running') then
    found(id, 'lease over', fields.worker, mend)
    if mend then
      give_up_attempt(id, 'lost', 'its worker went away without a report', 0, lifetime, call_seconds)
    end
  elseif left('published') then
    -- The queue is first in, first out: the oldest hints are those that are not in it.
    if redis.call('ZRANK', PUBLISHED, id) < redis.call('ZCARD', PUBLISHED) - queued then
      found(id, 'hint lost', '', mend)
      if mend then
        redis.call('ZREM', PUBLISHED, id)
        put_first(id)
      end
    end
  end
end

local function judge_keeping(id, fields, scores)
  local expires = redis.call('TTL', record(id)) ~= -1
  local may_expire = fields.state == 'SUCCESS' or fields.state == 'REVOKED'
  if expires and not may_expire then
    found(id, 'expires', fields.state, mend)
    if mend then redis.call('PERSIST', record(id)) end
  elseif may_expire and not expires then
    found(id, 'never expires', fields.state, mend)
    if mend then redis.call('EXPIRE', record(id), lifetime) end
  end
  if not scores.index then
    found(id, 'not indexed', '', mend)
    if mend then redis.call('ZADD', INDEX, stamp(tonumber(fields.created_at)), id) end
  end
  local ended = may_expire or fields.state == 'FAILURE'
  local has_password = redis.call('EXISTS', sealed_key(id)) == 1
  if may_expire and has_password then
    found(id, 'password kept', fields.state, mend)
    if mend then redis.call('DEL', sealed_key(id)) end
  elseif fields.mark and not (may_expire or has_password) then
    found(id, 'password lost', fields.state, false)
  end
  if ended and scores.untold and scores.untold < overdue and string.find(unattended, 'untold', 1, true) then
    found(id, 'untold', fields.state, false)
  end
end

local function judge_record(id)
  local fields = fields_of(id)
  local flaw = flaw_of(fields)
  if (tonumber(fields.v) or 0) > VERSION then
    return found(id, 'newer', 'version ' .. fields.v, false)
  elseif flaw then
    return found(id, 'unreadable', flaw, false)
  end
  local scores, before = scores_of(id), #findings
  if judge_place(id, fields, scores) then
    if #findings > before then scores = scores_of(id) end
    judge_time(id, fields, scores)
  end
  if #findings > before then -- mended, it may have ended
    scores, fields.state = scores_of(id), redis.call('HGET', record(id), 'state')
  end
  judge_keeping(id, fields, scores)
end

for _, id in ipairs(ids) do
  local kind = redis.call('TYPE', record(id)).ok
  if kind == 'none' then
    judge_entries(id, scores_of(id))
  elseif source == 'job' and kind == 'hash' then
    judge_record(id)
  elseif source == 'job' then
    found(id, 'unreadable', 'it is a ' .. kind .. ', not a hash', false)
  end
end
return findings
