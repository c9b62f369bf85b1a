-- Put before every step in these tests, before the program's own Lua: Redis's clock is what the test says, and
-- what is drawn is the same in every run.
local server = redis
local redis = setmetatable({}, {__index = server})

-- A key ends at an instant of the test's clock, which lies far ahead of the server's: `clock.py` deletes those
-- whose time has come.
local function ends(how, key, seconds, ...)
  local time = server.call('MGET', 'clock:seconds', 'clock:micros')
  local at = string.format('%.0f', (tonumber(time[1]) + tonumber(time[2]) / 1e6 + tonumber(seconds)) * 1000)
  local answer = how('PEXPIREAT', key, at, ...)
  server.call('ZADD', 'clock:ending', at, key)
  return answer
end

local function left(how, key)
  local at, time = how('PEXPIRETIME', key), server.call('MGET', 'clock:seconds', 'clock:micros')
  if type(at) ~= 'number' or at < 0 then return at end
  return math.floor(at / 1000 - tonumber(time[1]))
end

-- One after the other instead of by chance.
local function next_member(how, key, count, ...)
  local all = how('ZRANGE', key, 0, -1, ...)
  local width = select('#', ...) + 1
  local size = #all / width
  if size == 0 then return all end
  local first, drawn = server.call('INCR', 'clock:draws') * 7919 % size, {}
  for i = 0, math.min(tonumber(count or 1), size) - 1 do
    for k = 1, width do drawn[#drawn + 1] = all[(first + i) % size * width + k] end
  end
  return count and drawn or drawn[1]
end

local function run(how, name, ...)
  if name == 'TIME' then return server.call('MGET', 'clock:seconds', 'clock:micros') end
  if name == 'EXPIRE' then return ends(how, ...) end
  if name == 'TTL' then return left(how, ...) end
  if name == 'ZRANDMEMBER' then return next_member(how, ...) end
  return how(name, ...)
end

function redis.call(...) return run(server.call, ...) end
function redis.pcall(...) return run(server.pcall, ...) end

