-- A person closes an account's gate.
--: gate_pause(account, ends, reason)
-- `ends` is unix seconds, '' for no end.
-- A pause that is there already is replaced, and goes on from when it began.
local gate = gate_of(account)
put(gate, 'paused_at', closed(gate, now) == 'paused' and gate.paused_at or now)
put(gate, 'paused_until', tonumber(ends))
put(gate, 'paused_why', reason ~= '' and reason or nil)
note_closed(gate, now)
keep_gate(gate)
return stamp(now)
