-- In the place of tasks/lua/gate.lua, for the measure of what the gate costs: lets everything through
-- and touches nothing. A step that needs more of the gate than this ends with an error.
local TURN_SECONDS = 0.5
local function gate_key(account) return KEYS[1] .. 'gate:' .. account end
local function app_of() return '' end
local function rate_at() return math.huge end
local function gate_of() return {key = '', changed = {}} end
local function keep_gate() end
local function closed() end
local function time_closed() return 0 end
local function note_closed() end
local function ask() return 0 end
local function open_for_all() return 0 end
local function in_pipe() return 0 end
local function rooms(_, _, size, published) return size - published, size - published, 0, nil, {} end
local function tell_gate() end
