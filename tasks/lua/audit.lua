-- Somebody is about to change something. ARGV: how many entries are kept, more or less; a name of what
--   several processes are asked for at once, or of this very entry; for how many seconds; who asks;
--   fields and values.
-- Returns the entry's id, and 1 if it is the caller's, 0 if another of those processes has just made it.
local named = KEYS[1] .. 'round:' .. ARGV[2]
local known, by = string.match(redis.call('GET', named) or '', '^(%S+) ?(%S*)$')
if known then return {known, by == ARGV[4] and 1 or 0} end
local id = redis.call('XADD', KEYS[1] .. 'audit', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 5))
redis.call('SET', named, id .. ' ' .. ARGV[4], 'PX', math.floor(tonumber(ARGV[3]) * 1000))
return {id, 1}
