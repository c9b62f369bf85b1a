"""The producer of a chaos run notes what it was told, and notices what hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tests.chaos.producer
from tasks.errors import InvalidInput, JobNotFound, NotConfirmed, StepRefused, StoreUnavailable
from tasks.job import Job
from tasks.producer import Enqueued
from tasks.record import job_id
from tests.chaos.harness import Chaos
from tests.chaos.producer import by_key
from tests.unit.found import ITEMS, KEYS, ONE, record


@pytest.fixture
def chaos() -> Iterator[Chaos]:
    """A run with nothing started."""
    chaos = Chaos("test", 1, long=False)
    yield chaos
    chaos.close()


@pytest.fixture
def answers(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What enqueueing answers, call by call: an error for all, or whether they are accepted."""
    answers: list[Any] = []

    def enqueue(items: list[Any]) -> list[Enqueued]:
        answer = answers.pop(0)
        if callable(answer):
            answer()
        return [Enqueued(None, answer if isinstance(answer, Exception) else None, True)] * len(
            items
        )

    monkeypatch.setattr(tests.chaos.producer, "enqueue_webhooks", enqueue)
    monkeypatch.setattr(tests.chaos.producer, "pending", lambda: 0)
    return answers


def test_what_was_accepted_and_what_is_unsure(chaos: Chaos, answers: list[Any]) -> None:
    answers += [True, StoreUnavailable("away")]
    assert chaos.feed(2, insist=False) == 2
    assert chaos.feed(1, insist=False) == 0
    assert (chaos.ledger.accepted, chaos.ledger.unsure) == (set(KEYS[:2]), {KEYS[2]})
    assert chaos.ledger.asked == by_key(ITEMS)
    assert chaos.report.problems == []


def test_what_is_not_confirmed_is_enqueued_again(chaos: Chaos, answers: list[Any]) -> None:
    store: Any = None
    answers += [NotConfirmed(Job(record(ONE), store), "fsync"), StoreUnavailable("away"), True]
    assert chaos.feed(1) == 1
    assert (chaos.ledger.accepted, chaos.ledger.unsure) == ({ONE}, set())


def test_what_is_refused_is_a_broken_promise(chaos: Chaos, answers: list[Any]) -> None:
    answers.append(InvalidInput("too long"))
    assert chaos.feed(1) == 0
    assert "was not accepted: too long" in chaos.report.problems[0]


def test_a_slow_call(chaos: Chaos, answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.chaos.producer, "HANGS", -1.0)
    answers.append(True)
    chaos.feed(1)
    assert "one call of the producer took" in chaos.report.problems[0]


def test_a_producer_that_hangs(
    chaos: Chaos, answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.chaos.producer, "LATE", 0.05)
    goes_on = threading.Event()
    answers.append(goes_on.wait)
    with chaos.feeding(1):
        pass
    goes_on.set()
    assert "the producer hangs" in chaos.report.problems


def test_a_producer_that_crashes(chaos: Chaos, answers: list[Any]) -> None:
    def crash() -> None:
        raise RuntimeError("it cannot")

    answers.append(crash)
    with chaos.feeding(1):
        pass
    assert "it cannot" in chaos.report.problems[0]


def test_threads_that_feed_at_once_never_share_a_webhook(chaos: Chaos) -> None:
    taken: list[Any] = []

    def take() -> None:
        for _ in range(200):
            taken.extend(chaos.producer.new_items(3))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(by_key(taken)) == len(taken) == 2_400


@pytest.mark.parametrize(
    ("said", "certain", "perhaps"),
    [
        (record(ONE, "REVOKED"), True, False),
        (record(ONE, "REVOKED", outcome_unknown=True), False, True),
        (record(ONE, "STARTED"), False, True),
        (record(ONE, "SUCCESS"), False, True),
        (StoreUnavailable("away"), False, True),
        (NotConfirmed(Job(record(ONE), None), "fsync"), False, True),  # type: ignore[arg-type]
        (StepRefused("ended"), False, False),
        (JobNotFound("never"), False, False),
    ],
)
def test_what_cancelling_said(
    chaos: Chaos, monkeypatch: pytest.MonkeyPatch, said: Any, certain: bool, perhaps: bool
) -> None:
    def cancel(job: str) -> Job:
        assert job == job_id("default", *ONE)
        if isinstance(said, Exception):
            raise said
        store: Any = None
        return Job(said, store)

    monkeypatch.setattr(tests.chaos.producer, "cancel_job", cancel)
    chaos.producer.cancel(ONE)
    ledger = chaos.ledger
    assert (ONE in ledger.cancelled, ONE in ledger.perhaps_cancelled) == (certain, perhaps)


@pytest.mark.parametrize("state", ["PENDING", "RETRY"])
def test_a_job_that_was_cancelled_and_goes_on_waiting(
    chaos: Chaos, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    store: Any = None
    monkeypatch.setattr(
        tests.chaos.producer, "cancel_job", lambda _: Job(record(ONE, state), store)
    )
    chaos.cancel(ONE)
    assert chaos.report.problems == [f"{ONE} was cancelled, and is {state}"]
