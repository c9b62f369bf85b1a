-- How an account's gate stands.
--: gate_look(account, most)
-- `most` calls a second are what the settings allow.
-- Returns the time, why it is closed ('' if it is not), seconds until that is looked at again, calls a
-- second that may be made (-1 for no end), calls a second that were made, how many interactive and
-- how many bulk jobs are due and wait, then the gate's fields.
local gate = gate_of(account)
local why, again = closed(gate, now)
local rate = rate_at(gate, now, tonumber(most))
local second, used = math.floor(now), 0
if gate.second == second then used = gate.last elseif gate.second == second - 1 then used = gate.count end
local facts = {stamp(now), why or '', tostring(again or 0), tostring(rate == math.huge and -1 or rate), tostring(used)}
for _, priority in ipairs({'interactive', 'bulk'}) do facts[#facts + 1] = redis.call('ZCARD', line_of(account, priority)) end
for _, field in ipairs(redis.call('HGETALL', gate.key)) do facts[#facts + 1] = field end
return facts
