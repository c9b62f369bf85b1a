-- A person closes an account's gate. ARGV: account, until when (unix, '' for no end), reason.
-- A pause that is there already is replaced, and goes on from when it began.
local gate = gate_of(ARGV[1])
put(gate, 'paused_at', closed(gate, now) == 'paused' and gate.paused_at or now)
put(gate, 'paused_until', tonumber(ARGV[2]))
put(gate, 'paused_why', ARGV[3] ~= '' and ARGV[3] or nil)
note_closed(gate, now)
keep_gate(gate)
return stamp(now)
