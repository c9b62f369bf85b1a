-- A further call of an attempt asks for its turn, if it still holds its job.
--: gate_ask(account, most, probe, id, attempt, token, lease, obeys)
-- `most` calls a second that the settings allow, `probe` seconds between probes, then what `fence` takes.
-- Returns {seconds until the turn, which is taken with this}, {-1, seconds, the reason} if there is none
-- now, or {-1, 0, 'lost' or 'cancelled'}.
local answer = fence(id, attempt, token, lease, obeys)
if answer ~= 'held' then return {'-1', '0', answer} end
local gate = gate_of(account)
local turn, why, again = ask(gate, now, tonumber(most), tonumber(probe), true, app_of(id))
note_closed(gate, now)
keep_gate(gate)
if turn then return {tostring(turn)} end
return {'-1', tostring(again), why}
