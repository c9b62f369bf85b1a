-- What somebody must look at now. Jobs of dead workers go back to waiting; hints that were lost
-- and jobs that are due come back for publishing, as many as the pipe has room for.
-- ARGV: pipe size, hint seconds, messages in the queue, batch limit, lifetime seconds, calls a second
--   that the settings allow, account.
-- Returns {ids to publish, their attempts so far, seconds until the next due time or until the gate
--   lets more through (-1: none waits)}.
local size, hint, queued = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local limit = tonumber(ARGV[4])

for _, id in ipairs(redis.call('ZRANGEBYSCORE', RUNNING, '-inf', stamp(now), 'LIMIT', 0, limit)) do
  if is_left_alone(id) then
    redis.call('ZADD', RUNNING, stamp(now + LATER), id)
  else
    local attempts = tonumber(redis.call('HGET', record(id), 'attempts') or 0)
    -- At once, but a job that brings its worker down each time waits longer each time.
    local delay = attempts > 3 and math.min(2 ^ attempts, 600) or 0
    give_up_attempt(id, 'lost', 'its worker went away without a report', delay, ARGV[5])
  end
end

local taken, attempts = {}, {}
local function publish(id)
  redis.call('ZADD', PUBLISHED, stamp(now + hint), id)
  taken[#taken + 1] = id
  local used = redis.pcall('HGET', record(id), 'attempts') -- it may be no record at all
  attempts[#attempts + 1] = type(used) == 'string' and tonumber(used) or 0
end

-- The queue is first in, first out: what is no longer in it are the oldest of the hints.
local published = redis.call('ZCARD', PUBLISHED)
local lost = math.min(published - queued, size - queued, limit)
if lost > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', PUBLISHED, '-inf', stamp(now), 'LIMIT', 0, lost)) do
    publish(id)
  end
end

local passing, opens = room(gate_of(ARGV[7]), now, tonumber(ARGV[6]), size)
local room = math.min(math.min(size, passing) - math.max(published, queued + #taken), limit - #taken)
if room > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', WAITING, '-inf', stamp(now), 'LIMIT', 0, room)) do
    redis.call('ZREM', WAITING, id)
    publish(id)
  end
end

local first = redis.call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')
local next_due = first[2] and stamp(math.max(tonumber(first[2]) - now, opens, 0)) or '-1'
return {taken, attempts, next_due}
