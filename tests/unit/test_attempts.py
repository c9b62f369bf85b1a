"""What a worker does with hints: as many attempts as it has threads, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore, Retry

from tasks.errors import ApiUnavailable, StoreUnavailable, WebhookRejected
from tests.conftest import eventually
from worker import attempts
from worker.attempts import Attempts


class Seen:
    """What is shown of a job, as a list of words."""

    hostname = "w@h"

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self.words: list[str] = []

    def began(self, attempts: int) -> None:
        self.words.append(f"began {attempts}")

    def succeeded(self, result: Any) -> None:
        self.words.append(f"succeeded {result}")

    def retried(self, error: BaseException) -> None:
        self.words.append(f"retried {error}")

    def failed(self, error: BaseException) -> None:
        self.words.append(f"failed {error}")

    def ended(self) -> None:
        self.words.append("ended")


class World:
    """A worker of two threads, whose attempts end when they are told to."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.seen: dict[str, Seen] = {}
        self.running: list[str] = []
        self.taken: list[str] = []
        self.go: dict[str, threading.Event] = {}
        self.ends: dict[str, BaseException] = {}
        self.attempts = Attempts(pool, 2, self.show)

    def show(self, job_id: str) -> Seen:
        self.seen[job_id] = Seen(job_id)
        self.go[job_id] = threading.Event()
        return self.seen[job_id]

    def claim(self, job_id: str, _: str) -> Any:
        if job_id == "held":
            return None
        return SimpleNamespace(id=job_id, job=SimpleNamespace(attempts=3))

    def attempt(self, claimed: Any) -> str:
        self.running.append(claimed.id)
        assert self.go[claimed.id].wait(10)
        self.running.remove(claimed.id)
        if claimed.id in self.ends:
            raise self.ends[claimed.id]
        return "done"

    def receive(self, name: str, *ids: str) -> None:
        self.attempts.receive(ids, lambda: self.taken.append(name))


class Refusing:
    """An executor of a system that can start no more threads."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.executor = executor

    def submit(self, *_: Any) -> None:
        raise RuntimeError("can't start new thread")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ThreadPoolExecutor(2) as pool:
        world = World(pool)
        monkeypatch.setattr(attempts, "claim", world.claim)
        monkeypatch.setattr(attempts, "attempt", world.attempt)
        yield world
        for event in world.go.values():
            event.set()
        eventually(lambda: not world.running)


def test_a_message_is_taken_once_all_of_its_jobs_have_threads(world: World) -> None:
    world.receive("one", "a", "b", "c")
    eventually(lambda: len(world.running) == 2)
    assert world.running == ["a", "b"] and world.taken == []
    world.go["b"].set()
    eventually(lambda: "c" in world.running)
    assert world.taken == ["one"]
    eventually(lambda: world.seen["b"].words == ["began 3", "succeeded done", "ended"])


def test_messages_are_begun_in_their_order(world: World) -> None:
    world.receive("one", "a", "b", "c")
    world.receive("two", "d")
    for name in "abcd":
        eventually(lambda: name in world.running)  # noqa: B023  it is asked at once
        world.go[name].set()
    eventually(lambda: world.seen["d"].words[-1:] == ["ended"])
    assert world.taken == ["one", "two"]


def test_a_hint_that_has_nothing_to_tell_costs_no_thread(world: World) -> None:
    world.receive("one", "held", "held", "held", "a")
    eventually(lambda: world.running == ["a"])
    assert world.seen["held"].words == ["ended"]


def test_each_end_is_shown_as_celery_has_it(world: World) -> None:
    away, refused = ApiUnavailable("away"), WebhookRejected("no")
    world.ends = {"a": Retry(exc=away), "b": refused, "c": Ignore(), "d": KeyError("bug")}
    world.receive("one", *"abcd")
    for event in world.go.values():
        event.set()
    eventually(lambda: all(one.words[-1:] == ["ended"] for one in world.seen.values()))
    assert [one.words[1:-1] for one in world.seen.values()] == [
        ["retried away"],
        ["failed no"],
        [],
        ["failed 'bug'"],
    ]
    assert away.__traceback__ is refused.__traceback__ is None


def test_what_has_no_thread_for_too_long_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.receive("one", *"abcd")
    world.receive("two", "e")
    assert world.attempts.give_back() == []
    monkeypatch.setattr(attempts, "HOLD_SECONDS", 0.0)
    assert world.attempts.give_back() == ["c", "d", "e"]
    assert world.taken == ["one", "two"]
    assert world.seen["c"].words == ["ended"]
    for name in "ab":
        world.go[name].set()
    eventually(lambda: not world.running)
    world.receive("three", "f")
    eventually(lambda: world.running == ["f"])


def test_a_worker_that_stops_begins_no_more(world: World) -> None:
    world.receive("one", *"abc")
    world.attempts.stop()
    for name in "ab":
        world.go[name].set()
    eventually(lambda: world.seen["b"].words[-1:] == world.seen["a"].words[-1:] == ["ended"])
    world.receive("two", "d")
    assert world.running == [] and world.seen["c"].words == []


def test_it_stops_whatever_its_thread_does(world: World) -> None:
    """A signal interrupts the thread that may have the lock."""
    stopping = threading.Thread(target=world.attempts.stop, daemon=True)
    with world.attempts._lock:
        stopping.start()
        stopping.join(5)
        assert not stopping.is_alive()


def test_a_system_without_threads_costs_no_place(world: World) -> None:
    pool = world.attempts._executor
    world.attempts._executor = Refusing(pool)
    world.receive("one", "a", "b")
    world.attempts._executor = pool
    world.receive("two", "c")
    assert world.taken == ["one"]
    for number in range(2):  # the pool has them, as ThreadPoolExecutor does
        pool.submit(world.attempts._work, world.seen["ab"[number]])
    eventually(lambda: len(world.running) == 2)
    for event in world.go.values():
        event.set()
    eventually(lambda: world.seen["c"].words[-1:] == ["ended"])


def test_a_claim_that_meets_no_redis_shows_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_redis(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(attempts, "claim", no_redis)
    world.receive("one", "a")
    eventually(lambda: world.seen["a"].words == ["ended"])


def test_what_cannot_even_be_told_costs_no_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(attempts.log, "error", fail)
    world.ends = {name: ValueError(name) for name in "abc"}
    world.receive("one", *"abc")
    for name in "abc":
        eventually(lambda: name in world.running)  # noqa: B023
        world.go[name].set()
    world.ends = {}
    world.receive("two", "d", "e")
    eventually(lambda: sorted(world.running) == ["d", "e"])
