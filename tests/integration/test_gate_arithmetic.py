"""The gate's arithmetic on virtual time: the functions of `tasks/lua/gate.lua`, at any instant.

A play runs in one Redis script: calls are made as the gate lets them, an API answers them by a
rule, and what was called when comes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.redis_steps import as_script

PLAY = """
local play = cjson.decode(ARGV[1])
local gate, calls, closed_by = {key = 'none', changed = {}}, {}, {}
local api = {window = -1, used = 0}
-- How the API answers at an instant: what `tell` takes.
local function answer(at, n)
  for _, day in ipairs(play.days) do
    if at >= day.from and at < day.to then
      if day.what then
        return {what = day.what, wait = day.wait or -1, limit = day.limit or -1,
                left = day.left or -1, reset = day.reset or -1, ends = day.ends or -1}
      end
      local window = math.floor(at / day.window)
      if window ~= api.window then api.window, api.used = window, 0 end
      api.used = api.used + 1
      local told = {what = 'ok', wait = -1, limit = -1, left = -1, reset = -1}
      if api.used > day.limit then told.what, told.wait = 'limited', day.retry_after or -1 end
      if day.announced then
        told.limit, told.left = day.limit, math.max(day.limit - api.used, 0)
        told.ends = math.ceil((window + 1) * day.window)
        told.reset = told.ends - math.floor(at)
      end
      return told
    end
  end
  return {what = 'ok', wait = -1, limit = -1, left = -1, reset = -1}
end
local start = 1000000
local at, n = start, 0
-- Each of so many threads takes a turn, waits for it, calls, and tells what came of it.
local free = {}
for i = 1, play.threads do free[i] = start end
while true do
  local who = 1
  for i = 2, play.threads do if free[i] < free[who] then who = i end end
  at = free[who]
  if at >= start + play.seconds or n > 100000 then break end
  local app = 'app ' .. (n + 1) % (play.apps or play.jobs)
  local turn, why, again = ask(gate, at, play.most, play.probe, false, app)
  note_closed(gate, at)
  if turn then
    n = n + 1
    local called = at + turn
    for _ = 1, play.further do ask(gate, at, play.most, play.probe, true) end
    local told = answer(called - start, n)
    calls[#calls + 1] = {called - start, told.what}
    local job, ended = 'job' .. (n % play.jobs), called + play.latency
    told.app = app
    local news = tell(gate, ended, job, called, told, play.most, 1, play.probe)
    if news then closed_by[#closed_by + 1] = {called - start, news} end
    free[who] = ended
  else
    free[who] = at + math.max(again or 0, 0.05)
  end
end
return cjson.encode({calls = calls, news = closed_by, down = time_closed(gate, at)})
"""

Play = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def play(bare_redis: Any) -> Play:
    script = as_script(PLAY, "play:")
    client = redis.Redis.from_url(bare_redis.url)

    def run(*days: dict[str, Any], seconds: float, **options: Any) -> dict[str, Any]:
        order = {
            "most": 0.0,
            "probe": 30.0,
            "threads": 16,
            "latency": 0.05,
            "jobs": 1_000_000,
            "further": 0,
            **options,
            "days": days,
            "seconds": seconds,
        }
        told = json.loads(client.eval(script, 0, json.dumps(order)))  # type: ignore[arg-type]
        told["calls"] = sorted(map(tuple, told["calls"] or []))
        return told  # type: ignore[no-any-return]

    return run


def most_within(times: list[float], seconds: float) -> int:
    """The most calls in any window of this length."""
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def limited(limit: float, *, since: float = 0, until: float = 1e9, **day: Any) -> dict[str, Any]:
    return {"from": since, "to": until, "limit": limit, "window": 1, "announced": False, **day}


@settings(max_examples=30, deadline=None)
@given(rate=st.floats(0.2, 400), threads=st.integers(1, 64), latency=st.floats(0, 2))
def test_never_above_the_rate_of_the_settings(
    play: Play, rate: float, threads: int, latency: float
) -> None:
    seconds = min(120.0, 8_000 / rate)
    calls = play(seconds=seconds, most=rate, threads=threads, latency=latency)["calls"]
    times = [at for at, _ in calls]
    burst = 1 + 0.02 * rate
    for window in (1.0, 60.0):
        assert most_within(times, window) <= rate * window + burst + 1
    could = min(rate, threads / latency if latency else rate)
    assert len(times) >= 0.9 * could * seconds - threads - 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_limit_is_used_and_kept(play: Play, announced: bool) -> None:
    calls = play(limited(100, announced=announced), seconds=90)["calls"]
    later = [what for at, what in calls if at >= 10]
    refused = later.count("limited")
    assert later.count("ok") >= 0.95 * 80 * 100
    assert refused <= (0.001 if announced else 0.01) * len(later)


@pytest.mark.parametrize("threads", [16, 64])
@pytest.mark.parametrize(("seconds", "most_refused"), [(1, 0.001), (5, 0.001), (60, 0)])
def test_what_a_429_tells_to_wait_is_hardly_ever_waited(
    play: Play, seconds: float, most_refused: float, threads: int
) -> None:
    day = limited(100, retry_after=seconds)
    calls = play(day, seconds=seconds + 90, threads=threads)["calls"]
    later = [what for at, what in calls if at >= seconds + 5]
    assert later.count("ok") >= 0.95 * 85 * 100
    assert later.count("limited") <= most_refused * len(later)


def test_a_higher_limit_is_found_though_a_429_costs_seconds(play: Play) -> None:
    days = limited(100, until=60, retry_after=1), limited(200, since=60, retry_after=1)
    calls = play(*days, seconds=260, threads=64)["calls"]
    assert len([at for at, what in calls if 220 <= at < 260 and what == "ok"]) >= 0.9 * 40 * 200


@pytest.mark.parametrize(("limit", "retry_after", "refused"), [(6_000, 1, 0.01), (600, 1, 0.02)])
def test_a_limit_by_the_minute_is_used_though_each_429_tells_a_second(
    play: Play, limit: int, retry_after: float, refused: float
) -> None:
    calls = play(limited(limit, window=60, retry_after=retry_after), seconds=300)["calls"]
    whats = [what for _, what in calls]
    assert whats.count("ok") >= 0.99 * 5 * limit
    assert whats.count("limited") <= refused * len(whats)


def test_a_limit_that_changes_is_followed(play: Play) -> None:
    days = [
        limited(100, until=40, announced=True),
        limited(50, since=40, until=80, announced=True),
        limited(200, since=80, announced=True),
    ]
    calls = play(*days, seconds=120, threads=32)["calls"]
    for day, allowed in zip(days, (100, 50, 200), strict=True):
        begin, end = day["from"] + 10, min(day["to"], 120)
        part = [what for at, what in calls if begin <= at < end]
        assert part.count("ok") >= 0.95 * (end - begin) * allowed
        assert part.count("limited") <= 0.001 * len(part) + 1


@pytest.mark.parametrize("limit", [5, 500])
def test_a_limit_by_the_minute_is_spread_over_it(play: Play, limit: float) -> None:
    calls = play(limited(limit, window=60, announced=True), seconds=600, threads=8)["calls"]
    assert [at for at, what in calls if what == "limited"] == []
    spread = [at for at, _ in calls if at >= 120]
    assert most_within(spread, 6) <= 0.1 * limit * 1.1 + 2
    assert len(spread) >= 0.9 * limit * 8


def test_an_outage_is_asked_about_once_a_second_and_ended_gently(play: Play) -> None:
    day = {"from": 20, "to": 140, "what": "bad"}
    told = play(day, seconds=170, most=100.0)
    calls = [at for at, _ in told["calls"]]
    assert [what for _, what in told["news"]] == ["unavailable"]
    broken = told["news"][0][0] + 0.05
    during = [at for at in calls if broken + 0.05 < at < 140]
    assert len(during) <= 121 - (broken - 20)
    assert min(b - a for a, b in pairwise(during)) >= 0.99
    assert len([at for at in calls if 155 <= at < 165]) >= 0.9 * 100 * 10
    ramp = [at for at in calls if 141.5 <= at < 142.5]
    assert len(ramp) < 60
    assert 110 < told["down"] < 125


def test_one_jobs_own_failures_close_nothing(play: Play) -> None:
    told = play({"from": 0, "to": 1e9, "what": "bad"}, seconds=30, jobs=1, threads=2)
    assert not told["news"]
    assert len(told["calls"]) > 500


def test_a_refused_account_is_probed_and_goes_on_when_it_is_accepted(play: Play) -> None:
    day = {"from": 10, "to": 130, "what": "rejected"}
    told = play(day, seconds=180, most=50.0, latency=0.02)
    assert [what for _, what in told["news"]] == ["rejected"]
    probes = [at for at, what in told["calls"] if at > 11 and what == "rejected"]
    assert len(probes) <= 4
    assert len([at for at, _ in told["calls"] if 160 <= at < 170]) >= 0.95 * 50 * 10


def test_probes_of_an_account_grow_rarer(play: Play) -> None:
    told = play({"from": 0, "to": 1e9, "what": "rejected"}, seconds=7_200, latency=0.01, threads=1)
    # The second is of another app, which tells that it is the account's trouble.
    gaps = [b - a for (a, _), (b, _) in pairwise(told["calls"][1:])]
    assert gaps[:3] == pytest.approx([30] * 3, abs=1)
    assert gaps == sorted(gaps) or max(b - a for a, b in pairwise(gaps)) < 151
    assert gaps[-1] == pytest.approx(300, abs=1)


def test_it_waits_as_long_as_a_429_tells(play: Play) -> None:
    day = {"from": 5, "to": 5.2, "what": "limited", "wait": 20}
    times = [at for at, _ in play(day, seconds=40, most=100.0)["calls"]]
    assert max(b - a for a, b in pairwise(times)) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("further", [0, 8])
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("what", ["ok", "limited"])
def test_whatever_is_announced_a_call_is_made_within_ten_minutes(
    play: Play, what: str, left: int, further: int
) -> None:
    first = {"limit": 6_000, "left": 5_000, "reset": 60, "ends": 1_000_060}
    days = [
        {"from": 0, "to": 5, "what": "ok", **first},
        {"from": 5, "to": 1e9, "what": what, "limit": 1, "left": left, "reset": 86_400, "ends": 0},
    ]
    times = [at for at, _ in play(*days, seconds=7_200, further=further)["calls"]]
    assert max(b - a for a, b in pairwise([*times, 7_200])) <= 600.5


def test_the_settings_may_ask_for_a_slower_pace_than_any_answer(play: Play) -> None:
    times = [at for at, _ in play(seconds=7_200, most=1 / 1_500, further=1)["calls"]]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([3_000] * 2, abs=1)


@pytest.mark.parametrize(("seconds", "pause", "most"), [(0.1, 0.35, 20), (3, 1.1, 30)])
def test_a_429_that_tells_no_time_is_tried_soon_and_then_once_a_second(
    play: Play, seconds: float, pause: float, most: int
) -> None:
    day = {"from": 5, "to": 5 + seconds, "what": "limited"}
    calls = play(day, seconds=15, most=100.0)["calls"]
    times = [at for at, _ in calls]
    assert max(b - a for a, b in pairwise(times)) < pause
    assert [what for _, what in calls].count("limited") <= most


@settings(max_examples=25, deadline=None)
@given(
    whats=st.lists(st.sampled_from(["bad", "limited", "rejected", "ok"]), min_size=1, max_size=6),
    length=st.floats(0.1, 60),
    wait=st.floats(-1, 30),
)
def test_whatever_the_days_were_work_goes_on_when_they_are_over(
    play: Play, whats: list[str], length: float, wait: float
) -> None:
    days = [
        {"from": n * length, "to": (n + 1) * length, "what": what, "wait": wait}
        for n, what in enumerate(whats)
    ]
    end = len(whats) * length
    calls = play(*days, seconds=end + 420, most=20.0, threads=4)["calls"]
    last = [what for at, what in calls if at >= end + 400]
    assert len(last) >= 0.5 * 20 * 20
