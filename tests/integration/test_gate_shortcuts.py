"""The gate's shortcuts come to the same as what they are short for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.redis_steps import as_script

#: The shortcuts beside what they are short for, with two gates that have the same fields.
COMPARE = """
local most, calls = tonumber(ARGV[1]), tonumber(ARGV[2])
local function gate_with(account)
  redis.call('DEL', gate_key(account))
  for name, value in pairs(cjson.decode(ARGV[3])) do
    if name == 'second' then value = math.floor(now) + value
    elseif string.find(name, '_at', 1, true) or string.find(name, '_until', 1, true) then
      value = now + value
    end
    redis.call('HSET', gate_key(account), name, string.format('%.6f', value))
  end
end
local function shown(account)
  local fields, flat = {}, redis.call('HGETALL', gate_key(account))
  for i = 1, #flat, 2 do fields[#fields + 1] = flat[i] .. ' ' .. flat[i + 1] end
  table.sort(fields)
  return table.concat(fields, ', ')
end
gate_with('short')
gate_with('long')
local before, closed_for = shown('long'), open_for_all('short', now, most)
local gate = gate_of('long')
local turn = ask(gate, now, most, 30)
note_closed(gate, now)
keep_gate(gate)
local asked = {turn or -1, time_closed(gate, now), before == shown('long')}
gate_with('long')
local is_counted = count_success('job', 'short', now, calls)
gate = gate_of('long')
local told = {what = 'ok', limit = -1, left = -1, reset = -1, answered = calls}
tell(gate, now, 'job', now - 1, told, most, 1, 30)
keep_gate(gate)
return cjson.encode({closed_for = closed_for or -1, asked = asked, is_counted = is_counted,
                     short = shown('short'), long = shown('long'), before = before})
"""

AROUND_NOW = [-20.0, -9.9, -0.1, 0.1, 20.0]
#: What any gate may have.
USUAL = st.fixed_dictionaries(
    {},
    optional={
        "second": st.sampled_from([-2, -1, 0, 0]),
        "ok_at": st.sampled_from(AROUND_NOW[:3]),
        "down": st.floats(0.5, 100),
        "peak": st.integers(0, 1_000),
    },
)
#: What few have, and none of them much at once.
RARE = ("paused_at", "paused_until", "rejected_at", "broken_at", "down_at", "wait_until", "ramp_at")
SPECIAL = st.lists(
    st.tuples(st.sampled_from(RARE), st.sampled_from(AROUND_NOW))
    | st.tuples(st.sampled_from(["announced", "top", "bad"]), st.floats(0.5, 100)),
    max_size=2,
).map(dict)
#: What goes with a field, wherever that is.
ALONG = {
    "rejected_at": {"probe_at": 1.0, "probes": 0.0},
    "broken_at": {"probe_at": 1.0},
    "top": {"learnt_at": -5.0},
    "ramp_at": {"ramp_to": 50.0},
    "second": {"count": 1, "last": 2},
    "bad": {"ok": 3.0, "counted_at": -1.0},
}


def compared(url: str, fields: dict[str, float], most: int, calls: int) -> dict[str, Any]:
    """What the shortcuts told and left behind, and what the whole way did."""
    args: Any = (most, calls, json.dumps(fields))
    with redis.Redis.from_url(url) as client:
        told: Any = client.eval(as_script(COMPARE, "compare:"), 0, *args)
    return json.loads(told)  # type: ignore[no-any-return]


def test_a_gate_that_is_open_is_short(bare_redis: Any) -> None:
    told = compared(bare_redis.url, {"second": 0, "count": 3, "down": 7.5}, 0, 2)
    assert told["closed_for"] == 7.5 and told["is_counted"]
    assert "count 5.000000" in told["short"]
    assert compared(bare_redis.url, {}, 0, 1)["closed_for"] == 0
    assert compared(bare_redis.url, {}, 5, 1)["closed_for"] == -1


@settings(max_examples=300, deadline=None)
@given(usual=USUAL, special=SPECIAL, most=st.sampled_from([0, 0, 0, 5]), calls=st.integers(1, 3))
def test_the_shortcuts_come_to_the_same(
    bare_redis: Any, usual: dict[str, float], special: dict[str, float], most: int, calls: int
) -> None:
    fields = {**usual, **special}
    for name in tuple(fields):
        fields = {**ALONG.get(name, {}), **fields}
    told = compared(bare_redis.url, fields, most, calls)
    is_plain = not {"paused_at", "rejected_at", "broken_at", "down_at", "top", "bad"} & set(fields)
    if told["closed_for"] >= 0:
        assert told["asked"] == [0, pytest.approx(told["closed_for"]), True]
    elif is_plain and most == 0 and "announced" not in fields:
        assert fields.get("wait_until", -1) > 0 or fields.get("ramp_at", -20) > -10
    if told["is_counted"]:
        assert told["short"] == told["long"] != told["before"]
    else:
        assert told["short"] == told["before"]
        assert told["closed_for"] < 0 or fields.get("second", -1) < 0
