-- A person opens an account's gate, whatever has closed it. ARGV: account.
-- Returns what had closed it, '' if nothing had.
local gate = gate_of(ARGV[1])
local was = closed(gate, now) or ''
forget_outage(gate)
for _, name in ipairs({'paused_at', 'paused_until', 'paused_why', 'wait_until'}) do put(gate, name, nil) end
note_closed(gate, now)
keep_gate(gate)
return was
