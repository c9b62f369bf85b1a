-- Somebody is about to change something. ARGV: how many entries are kept, more or less; '' or a name
--   of what several processes are asked for at once; for how many seconds; fields and values.
-- Returns the entry's id, and 1 if it is new, 0 if another of those processes has just made it.
local named = ARGV[2] ~= '' and KEYS[1] .. 'round:' .. ARGV[2]
local known = named and redis.call('GET', named)
if known then return {known, 0} end
local id = redis.call('XADD', KEYS[1] .. 'audit', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 4))
if named then redis.call('SET', named, id, 'PX', math.floor(tonumber(ARGV[3]) * 1000)) end
return {id, 1}
