-- The first entry of each set that dispatchers see to, if it is overdue. One that is still there a
-- while later, and unchanged, has nobody to see to it. ARGV: messages in the queue, seconds after
-- which an entry is overdue. Returns {set, id, its time}.
local heads = {}
for _, name in ipairs({'running', 'published', 'untold'}) do
  local head = redis.call('ZRANGE', KEYS[1] .. name, 0, 0, 'WITHSCORES')
  local overdue = head[1] and tonumber(head[2]) < now - tonumber(ARGV[2])
  -- Hints whose messages are in the queue wait for a worker, not for a dispatcher.
  local lost = name ~= 'published' or redis.call('ZCARD', PUBLISHED) > tonumber(ARGV[1])
  if overdue and lost then heads[#heads + 1] = {name, head[1], head[2]} end
end
return heads
