-- The first entry of each set that dispatchers see to, if it is overdue. One that is still there a
-- while later, and unchanged, has nobody to see to it.
--: unattended(queued, patience) no-writes
-- The messages in the queue hint at `queued` jobs at most; an entry is overdue after `patience` seconds. Returns {set, id, its time}.
local heads = {}
for _, name in ipairs({'running', 'published', 'untold'}) do
  local head = redis.call('ZRANGE', PREFIX .. name, 0, 0, 'WITHSCORES')
  local overdue = head[1] and tonumber(head[2]) < now - tonumber(patience)
  -- Hints whose messages are in the queue wait for a worker, not for a dispatcher.
  local lost = name ~= 'published' or redis.call('ZCARD', PUBLISHED) > tonumber(queued)
  if overdue and lost then heads[#heads + 1] = {name, head[1], head[2]} end
end
return heads
