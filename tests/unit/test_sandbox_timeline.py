"""The sandbox's timelines and its rate limit, without HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from worker.sandbox.__main__ import main
from worker.sandbox.app import Sandbox
from worker.sandbox.limiter import Limiter, RateLimit
from worker.sandbox.player import Player
from worker.sandbox.settings import Settings
from worker.sandbox.tally import KEPT_SECONDS, Tally
from worker.sandbox.timeline import (
    READY,
    BadTimeline,
    Timeline,
    find_timeline,
    parse_timeline,
    read_timeline,
)

AWAY = {"kind": "status", "status": 503}


def timeline(*entries: dict[str, Any]) -> Timeline:
    return parse_timeline({"entry": list(entries)})


@pytest.mark.parametrize("path", sorted(READY.glob("*.toml")), ids=lambda path: path.stem)
def test_the_ready_days_can_be_played_and_say_what_they_are(path: Path) -> None:
    day = read_timeline(path)
    assert day.about.endswith(".")
    assert all(entry.say for entry in day.entries)
    assert find_timeline(path.stem) == path


def test_the_entries_of_an_instant_are_those_that_have_begun_and_not_ended() -> None:
    day = timeline(
        {"from": 0, "to": 10, "latency": 1, "say": "slow"},
        {"from": 5, "faults": [AWAY], "say": "away"},
    )
    assert day.instants() == [0, 5, 10]
    said = [[entry.say for entry in day.at(instant)] for instant in (0, 5, 9.9, 10, 1000)]
    assert said == [["slow"], ["slow", "away"], ["slow", "away"], ["away"], ["away"]]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"to": 3, "latency": 1}, "from: Field required"),
        ({"from": -1, "latency": 1}, "from: Input should be greater than or equal to 0"),
        ({"from": 3, "to": 3, "latency": 1}, "`to` .3. must be after `from` .3."),
        ({"from": 3}, "it does nothing: give `faults` or any of accepted_keys, app_appears_after"),
        ({"from": 0, "faults": [{"kind": "explode"}]}, "faults.0.kind: Input should be"),
        ({"from": 0, "faults": [AWAY, {**AWAY, "tims": 1}]}, "faults.1.tims: Extra inputs"),
        ({"from": 0, "latencies": 1}, "there is no `latencies`"),
        ({"from": 0, "limit": {"seconds": 1}}, "limit.calls: Field required"),
        ({"from": 0, "limit": {"calls": 1, "seconds": 0}}, "limit.seconds: Input should be great"),
        ({"from": 0, "accepted_keys": ["older"]}, "accepted_keys.0: Input should be 'old' or"),
        ("soon", "it must be a table"),
    ],
)
def test_a_bad_entry_is_told_by_its_number_and_what_is_wrong(entry: Any, words: str) -> None:
    with pytest.raises(BadTimeline, match=f"entry 2: {words}"):
        parse_timeline({"entry": [{"from": 0, "latency": 1}, entry]})


def test_every_bad_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "day.toml"
    path.write_text(
        "about = 3\ntitle = 'x'\n[[entry]]\nfrom = 0\n[[entry]]\nfrom = 1\nlatency = 1\n"
        "[[entry]]\nfrom = 'noon'\nlatency = -1\n"
    )
    with pytest.raises(BadTimeline) as raised:
        read_timeline(path)
    starts = [problem.split(":")[0] for problem in raised.value.problems]
    assert starts == ["title", "about", "entry 1", "entry 3"]
    assert str(raised.value).startswith(f"{path} is no timeline:\n  title: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [("[[entry]\n", "It is no TOML: .*line 1"), ("", "entry: 1 to"), ("entry = 3", "entry: 1 to")],
)
def test_what_is_no_timeline_is_refused_by_the_command(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "day.toml"
    path.write_text(content)
    with pytest.raises(BadTimeline, match=words):
        read_timeline(path)
    ended = CliRunner().invoke(main, ["--timeline", str(path)])
    assert ended.exit_code == 2
    assert f"{path} is no timeline" in ended.output


def test_a_day_that_is_not_there_is_told_with_those_that_are() -> None:
    ended = CliRunner().invoke(main, ["--timeline", "doomsday"])
    assert ended.exit_code == 2
    assert "keys-rotated" in ended.output
    assert "outage" in ended.output


def test_a_player_changes_what_the_entries_say_and_puts_it_back() -> None:
    said: list[str] = []
    sandbox = Sandbox(Settings(latency=0.5))
    player = Player(sandbox, say=said.append)
    ours, theirs = (
        timeline({"from": 0, "faults": [AWAY]}).entries[0].faults,
        timeline({"from": 0, "faults": [AWAY]}),
    )
    sandbox.faults.add(ours)

    async def until(latency: float) -> None:
        while sandbox.settings.latency != latency:
            await asyncio.sleep(0.005)

    async def played() -> None:
        player.play(
            timeline(
                {"from": 0, "to": 0.4, "latency": 1, "accepted_keys": [], "say": "slow"},
                {"from": 0.02, "to": 0.4, "latency": 2, "faults": [AWAY], "say": "slower"},
            )
        )
        assert sandbox.settings.latency == 1
        assert sandbox.operations.accepted == frozenset()
        await until(2)
        assert player.state()["now"] == ["slow", "slower"]
        await until(0.5)
        assert len(sandbox.operations.accepted) == 1
        assert player.state()["now"] == []
        player.play(theirs)
        player.stop()

    asyncio.run(asyncio.wait_for(played(), 10))
    assert [line.split("s  ")[1] for line in said[:4]] == [
        "slow",
        "slower",
        "over: slow",
        "over: slower",
    ]
    # The rule that was there before is equal to the timeline's, and stays.
    assert sandbox.faults.pick("create", "app", "hook") is ours[0]
    sandbox.faults.remove(ours)
    assert sandbox.faults.pick("create", "app", "hook") is None


def test_nothing_is_played_where_there_is_nothing_to_play() -> None:
    with pytest.raises(ValueError, match="There is no timeline"):
        Player(Sandbox(Settings())).play()


def test_a_limit_lets_so_many_through_in_each_window() -> None:
    now = [1000.0]
    limiter = Limiter(RateLimit(calls=2, seconds=10), clock=lambda: now[0])
    assert [limiter.admit().passes for _ in range(3)] == [True, True, False]
    now[0] = 1009.9
    assert not limiter.admit().passes
    now[0] = 1010.0
    assert limiter.admit().passes
    limiter.limit = RateLimit(calls=3, seconds=10)  # what was used stays used
    assert [limiter.admit().passes for _ in range(3)] == [True, True, False]
    limiter.limit = None
    assert limiter.admit() == (True, {})


@pytest.mark.parametrize(
    ("style", "let_through", "refused"),
    [
        (
            "x-ratelimit",
            {"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1010"},
            {"Retry-After": "8"},
        ),
        (
            "x-rate-limit",
            {"X-Rate-Limit": "1", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "1010"},
            {"Retry-After": "8"},
        ),
        ("retry-after", {}, {"Retry-After": "8"}),
        ("none", {}, {}),
    ],
)
def test_a_limit_is_told_in_its_style(
    style: Any, let_through: dict[str, str], refused: dict[str, str]
) -> None:
    limiter = Limiter(RateLimit(calls=1, seconds=10, headers=style), clock=lambda: 1002.5)
    assert limiter.admit() == (True, let_through)
    assert limiter.admit() == (False, {**let_through, **refused})


def test_the_tally_counts_by_the_second_of_arrival_and_keeps_two_hours() -> None:
    tally = Tally()
    for at, status in ((0.1, 200), (0.9, 429), (1.0, 200), (1.1, None)):
        tally.arrived(at)
        tally.answered(at, status)
    tally.arrived(1.5)
    assert tally.since(0) == [
        {"second": 0, "calls": 2, "200": 1, "429": 1},
        {"second": 1, "calls": 3, "200": 1, "none": 1},
    ]
    for second in range(2, KEPT_SECONDS + 1):
        tally.arrived(float(second))
    tally.answered(0.1, 200)
    assert len(tally.since(0)) == KEPT_SECONDS
    assert tally.since(KEPT_SECONDS) == [{"second": KEPT_SECONDS, "calls": 1}]
