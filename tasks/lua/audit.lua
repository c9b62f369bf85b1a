-- Somebody is about to change something.
--: audit(most, name, seconds, asker, fields...) grows
-- `most` entries are kept, more or less; `name` is of what several processes are asked for at once, or of this very
-- entry, for so many `seconds`; `fields` are names and values.
-- Returns the entry's id, and 1 if it is the caller's, 0 if another of those processes has just made it.
local named = PREFIX .. 'round:' .. name
local known, by = string.match(redis.call('GET', named) or '', '^(%S+) ?(%S*)$')
if known then return {known, by == asker and 1 or 0} end
local id = redis.call('XADD', PREFIX .. 'audit', 'MAXLEN', '~', most, '*', unpack(fields))
redis.call('SET', named, id .. ' ' .. asker, 'PX', math.floor(tonumber(seconds) * 1000))
return {id, 1}
