-- A further call of an attempt asks for its turn, if it still holds its job. ARGV: account, calls a second that
--   the settings allow, seconds between probes, then what `fence` takes: the job's id, ....
-- Returns {seconds until the turn, which is taken with this}, {-1, seconds, the reason} if there is none
-- now, or {-1, 0, 'lost' or 'cancelled'}.
local answer = fence(unpack(ARGV, 4))
if answer ~= 'held' then return {'-1', '0', answer} end
local gate = gate_of(ARGV[1])
local turn, why, again = ask(gate, now, tonumber(ARGV[2]), tonumber(ARGV[3]), true, app_of(ARGV[4]))
note_closed(gate, now)
keep_gate(gate)
if turn then return {tostring(turn)} end
return {'-1', tostring(again), why}
