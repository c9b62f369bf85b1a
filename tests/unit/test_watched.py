"""A loop that dies, stands still, or is only slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tasks.jobs import JobStore
from tests.conftest import eventually
from worker.watched import STILL_SECONDS, WatchedLoop


class Loop(WatchedLoop):
    """Ticks all the time and does in each what `act` says."""

    def __init__(self) -> None:
        super().__init__("loop", least=0.05)
        self.act: Callable[[], object] = lambda: None
        self.woken = threading.Event()
        self.count = 0

    def tick(self, store: JobStore) -> float:
        self.count += 1
        self.act()
        return 0.01

    def hangs_from_now_on(self) -> None:
        """Until it is woken."""
        hangs = threading.Event()

        def hang() -> None:
            hangs.set()
            assert self.woken.wait(20)

        self.act = hang
        assert hangs.wait(20)

    def problems(self, seconds: float) -> set[str | None]:
        """What it says when it is asked twice a second for so long."""
        return {self.problem(0.5) for _ in range(round(seconds / 0.5))}

    def goes_on(self) -> None:
        count = self.count
        eventually(lambda: self.count > count + 1)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    loop.start()
    loop.goes_on()
    yield loop
    loop.woken.set()
    loop.stop()
    loop.join(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_died_is_told_at_once(loop: Loop) -> None:
    def die() -> None:
        raise SystemExit

    loop.act = die
    loop.join(5)
    assert loop.problem(0.5) == "died"


def test_one_that_stands_still_is_told_after_a_while(loop: Loop) -> None:
    loop.hangs_from_now_on()
    assert loop.problems(STILL_SECONDS) == {None}
    assert loop.problems(1.0) == {"stands still"}


def test_one_that_is_slow_and_goes_on_is_not(loop: Loop) -> None:
    begun, go_on = threading.Barrier(2), threading.Barrier(2)

    def walk() -> None:
        for _ in range(3):
            begun.wait(10)
            go_on.wait(10)
            loop.step()
        loop.act = lambda: None

    loop.act = walk
    for _ in range(3):
        begun.wait(10)
        assert loop.problems(STILL_SECONDS) == {None}
        go_on.wait(10)
    loop.goes_on()


def test_time_in_which_nobody_asks_does_not_count(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that is frozen as a whole."""
    monkeypatch.setattr("worker.watched.STILL_SECONDS", 1.2)
    loop.hangs_from_now_on()
    assert loop.problem(0.5) is None
    threading.Event().wait(1.5)  # the fault itself
    assert loop.problem(0.5) is None
    assert loop.problem(0.5) == "stands still"


def test_one_that_sleeps_for_long_is_not_told() -> None:
    loop = Sleeper(600.0)
    loop.start()
    eventually(lambda: loop._sleeps)
    assert {loop.problem(0.5) for _ in range(200)} == {None}
    loop.stop()
    loop.join(5)


def test_a_tick_that_fails_is_told_once_and_so_is_its_end(loop: Loop) -> None:
    def fail() -> None:
        raise ValueError("no such luck")

    with capture_logs() as logs:
        loop.act = fail
        count = loop.count
        eventually(lambda: loop.count >= count + 2)
        loop.act = lambda: None
        loop.goes_on()
    assert [line["event"] for line in logs] == ["dispatcher waits", "dispatcher goes on"]
    assert "no such luck" in str(logs[0]["problem"])


def test_nothing_is_wrong_with_one_that_was_stopped(loop: Loop) -> None:
    loop.stop()
    assert not loop.step()
    loop.join(5)
    assert loop.problems(2 * STILL_SECONDS) == {None}


class Sleeper(WatchedLoop):
    """Has nothing to do for a while after each tick."""

    def __init__(self, pause: float) -> None:
        super().__init__("sleeper", least=0.05)
        self.pause = pause
        self.at: list[float] = []

    def tick(self, store: JobStore) -> float:
        self.at.append(time.monotonic())
        return self.pause


def test_who_sleeps_can_be_woken_and_is_not_more_often_than_so() -> None:
    loop = Sleeper(60.0)
    loop.start()
    eventually(lambda: len(loop.at) == 1)
    give_up = time.monotonic() + 10
    while len(loop.at) < 4:
        loop.wake()
        time.sleep(0.001)
        assert time.monotonic() < give_up
    loop.stop()
    loop.join(1)
    assert min(b - a for a, b in pairwise(loop.at)) >= 0.9 * 0.05


def test_who_sleeps_stops_at_once() -> None:
    loop = Sleeper(60.0)
    loop.start()
    eventually(lambda: len(loop.at) == 1)
    loop.stop()
    loop.join(5)
    assert not loop._thread.is_alive()
