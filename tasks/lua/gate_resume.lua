-- A person opens an account's gate, whatever has closed it.
--: gate_resume(account)
-- Returns what had closed it, '' if nothing had.
local gate = gate_of(account)
local was = closed(gate, now) or ''
-- What was refused is tried at once.
local met_by = gate.met_by and string.sub(gate.met_by, #'job ' + 1)
if met_by and redis.call('ZSCORE', WAITING, met_by) and redis.pcall('HGET', record(met_by), 'state') == 'RETRY' then
  wait_until(met_by, now)
end
forget_outage(gate)
for _, name in ipairs({'paused_at', 'paused_until', 'paused_why', 'wait_until', 'alarm_due'}) do put(gate, name, nil) end
note_closed(gate, now)
keep_gate(gate)
wake_dispatcher()
return was
