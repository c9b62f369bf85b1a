"""A loop's thread that dies, hangs, wakes up again, or is only slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tasks.jobs import JobStore
from tests.conftest import eventually
from worker.watched import (
    ABANDONED_MOST,
    HANG_MOST_SECONDS,
    HANG_SECONDS,
    LEAST_SECONDS,
    StillMine,
    WatchedLoop,
)


class Loop(WatchedLoop):
    """Ticks ten times a second and does in each what `act` says."""

    def __init__(self) -> None:
        super().__init__("loop")
        self.act: Callable[[], None] = lambda: None
        self.done: list[str] = []
        self.woken = threading.Event()
        self.count = 0

    def tick(self, store: JobStore, still_mine: StillMine) -> float:
        self.count += 1
        self.act()
        self.done.append("mine" if still_mine() else "superseded")
        return 0.01

    def hang(self) -> None:
        self.act = lambda: None
        assert self.woken.wait(20)

    def hang_until_woken(self) -> None:
        assert self.woken.wait(20)

    def hangs_from_now_on(self) -> None:
        count = self.count
        self.act = self.hang
        eventually(lambda: self.count > count and self.act != self.hang)

    def every_tick_hangs(self) -> None:
        count = self.count
        self.act = self.hang_until_woken
        eventually(lambda: self.count > count)

    def check_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.check(0.5)

    def check_until_replaced(self) -> None:
        thread = self._thread
        while self._thread is thread:
            self.check(0.5)

    def goes_on(self) -> None:
        count = len(self.done)
        eventually(lambda: len(self.done) > count + 1)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    loop.start()
    loop.goes_on()
    yield loop
    loop.woken.set()
    loop.stop()
    loop.join(5)


def replaced(logs: list[dict[str, object]]) -> list[object]:
    return [line["why"] for line in logs if line["event"] == "dispatcher replaced"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_at_once(loop: Loop) -> None:
    first = loop._thread

    def die() -> None:
        loop.act = lambda: None
        raise SystemExit

    loop.act = die
    assert first is not None
    first.join(5)
    with capture_logs() as logs:
        loop.check(0.5)
    assert replaced(logs) == ["its thread died"]
    loop.goes_on()


def test_a_thread_that_hangs_is_replaced_and_does_nothing_more_once_it_wakes(loop: Loop) -> None:
    loop.hangs_from_now_on()
    hung = loop._thread
    assert hung is not None
    with capture_logs() as logs:
        loop.check_for(HANG_SECONDS)
        assert replaced(logs) == []
        loop.check_for(1.0)
    assert replaced(logs) == ["its thread hangs"]
    loop.goes_on()
    assert "superseded" not in loop.done
    loop.woken.set()
    hung.join(5)
    assert not hung.is_alive()
    assert loop.done.count("superseded") == 1
    loop.goes_on()


def test_time_in_which_nobody_looks_does_not_count(loop: Loop) -> None:
    """As in a process that is frozen as a whole."""
    loop.hangs_from_now_on()
    with capture_logs() as logs:
        loop.check(0.5)
        threading.Event().wait(0.3)  # stands for a minute
        loop.check(0.5)
        loop.woken.set()
        loop.goes_on()
        loop.check_for(HANG_SECONDS)
    assert replaced(logs) == []


def test_no_more_than_so_many_threads_are_left_behind(loop: Loop) -> None:
    with capture_logs() as logs:
        for _ in range(ABANDONED_MOST):
            loop.hangs_from_now_on()
            loop.check_until_replaced()
        loop.hangs_from_now_on()
        loop.check_for(10 * HANG_MOST_SECONDS)
    assert len(replaced(logs)) == ABANDONED_MOST
    loop.woken.set()
    loop.goes_on()


def test_on_a_slow_network_the_next_thread_gets_more_time(loop: Loop) -> None:
    loop.every_tick_hangs()
    with capture_logs() as logs:
        loop.check_for(HANG_SECONDS + 0.5)
        loop.check_for(HANG_SECONDS + 0.5)
        assert len(replaced(logs)) == 1
        loop.check_for(HANG_SECONDS)
    assert len(replaced(logs)) == 2
    loop.act = lambda: None
    loop.woken.set()
    loop.goes_on()
    loop.woken.clear()
    loop.hangs_from_now_on()
    with capture_logs() as logs:
        loop.check_for(HANG_SECONDS + 0.5)
    assert len(replaced(logs)) == 1


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


def test_a_stopped_loop_is_not_replaced(loop: Loop) -> None:
    loop.stop()
    loop.join(5)
    with capture_logs() as logs:
        loop.check_for(10)
    assert logs == []


class Sleeper(WatchedLoop):
    """Has nothing to do for a while after each tick."""

    def __init__(self, pause: float) -> None:
        super().__init__("sleeper")
        self.pause = pause
        self.at: list[float] = []

    def tick(self, store: JobStore, still_mine: StillMine) -> float:
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
    assert min(b - a for a, b in pairwise(loop.at)) >= 0.9 * LEAST_SECONDS


def test_who_sleeps_stops_at_once() -> None:
    loop = Sleeper(60.0)
    loop.start()
    eventually(lambda: len(loop.at) == 1)
    loop.stop()
    loop.join(5)
    assert loop._thread is not None and not loop._thread.is_alive()
