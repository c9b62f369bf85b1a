-- New jobs, each into the pipe while there is room, else into waiting. One that exists stays as it is.
-- ARGV: pipe size, hint seconds, 1 to write what exists once more (as it is, so that there is
--   something to confirm), calls a second that the settings allow, then 8 a job: id, not before
--   (unix, 0 for now), account, app id, webhook (JSON), sealed password ('' for none), webhook
--   version ('' for legacy), more fields (JSON, '' for none), with `expires_in` (seconds) in the
--   place of `expires_at`.
-- Returns the time and for each: 'published' (the caller sends its message), 'waiting', 'exists'
--   or 'damaged': it exists, and is left as it is.
local size, most, published = tonumber(ARGV[1]), cjson.decode(ARGV[4]), redis.call('ZCARD', PUBLISHED)
local left = {}
-- Into the pipe, but no bulk job while others wait.
local function goes_at_once(account, priority)
  if not left[account] then
    local all, bulk = rooms(account, most[account], size, published)
    left[account] = {interactive = all, bulk = bulk}
  end
  local for_these = left[account]
  if published >= size or for_these[priority] <= 0 then return false end
  if priority == 'bulk' and redis.call('EXISTS', line_of(account, priority)) == 1 then return false end
  for_these.interactive, for_these.bulk = for_these.interactive - 1, for_these.bulk - 1
  return true
end
local outcomes = {stamp(now)}
for i = 5, #ARGV, 8 do
  local id, due = ARGV[i], tonumber(ARGV[i + 1])
  local key = record(id)
  if redis.call('EXISTS', key) == 1 then
    local is_damaged = is_left_alone(id) and not is_newer(id)
    if ARGV[3] == '1' and not is_damaged then redis.call('HSET', key, 'app_id', redis.call('HGET', key, 'app_id')) end
    outcomes[#outcomes + 1] = is_damaged and 'damaged' or 'exists'
  else
    if due < now then due = now end
    local more = ARGV[i + 7] ~= '' and cjson.decode(ARGV[i + 7]) or {}
    if more.expires_in then
      -- When its time is over it wakes to be told so.
      local ends = now + tonumber(more.expires_in)
      more.expires_at, more.expires_in, due = stamp(ends), nil, math.min(due, ends)
    end
    redis.call('HSET', key, 'v', '1', 'state', 'PENDING', 'account', ARGV[i + 2],
      'app_id', ARGV[i + 3], 'webhook', ARGV[i + 4], 'webhook_version', ARGV[i + 6],
      'created_at', stamp(now), 'due_at', stamp(due), 'attempt', '0', 'attempts', '0')
    if ARGV[i + 5] ~= '' then redis.call('HSET', key, 'password', ARGV[i + 5]) end
    for name, text in pairs(more) do redis.call('HSET', key, name, text) end
    redis.call('ZADD', INDEX, stamp(now), id)
    local priority = more.priority == 'bulk' and 'bulk' or 'interactive'
    if due <= now and goes_at_once(ARGV[i + 2], priority) then
      published = published + 1
      redis.call('ZADD', PUBLISHED, stamp(now + tonumber(ARGV[2])), id)
      outcomes[#outcomes + 1] = 'published'
    else
      redis.call('ZADD', WAITING, stamp(due), id)
      if due <= now then line_up(id, 'new', {ARGV[i + 2], priority, more.group or false, ARGV[i + 3]}) end
      outcomes[#outcomes + 1] = 'waiting'
    end
  end
end
return outcomes
