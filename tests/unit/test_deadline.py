"""The time that a job has, seen by one attempt."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tasks.deadline import LEAST_SECONDS, Deadline
from tasks.errors import ApiFailure, ApiUnavailable, Expired
from tasks.gate import Told
from tasks.more import More
from tasks.record import JobRecord

OK = Told("ok")
JOB = JobRecord(
    *("some-job", "STARTED", "default", "shop"),
    *({"id": "orders"}, 2),
    created_at=1_000.0,
    started_at=1_060.0,
)


class FakeTurn:
    """A gate that lets the call through after so many seconds of the job's life."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked = 0
        self.passed = lambda seconds: None

    def before_call(self) -> None:
        self.asked += 1
        self.passed(self.seconds)

    def before_bytes(self) -> None:
        pass

    def after_call(self, headers: object) -> None:
        pass

    def told(self, failure: ApiFailure | None = None) -> Told:
        return OK


def way(left: float | None, turn: FakeTurn | None = None, **fields: object) -> Deadline:
    """The way of an attempt that has so many seconds left."""
    expires_at = None if left is None else 1_060.0 + left
    job = replace(JOB, more=More(expires_at=expires_at), **fields)  # type: ignore[arg-type]
    return Deadline(turn or FakeTurn(), job, time.monotonic())


def test_a_job_without_an_end_has_as_long_as_the_timeouts_allow() -> None:
    assert way(None).left() is None
    assert way(None).before_call() is None


def test_a_call_has_what_is_left() -> None:
    left = way(20.0).before_call()
    assert left is not None
    assert 19.0 < left <= 20.0


@pytest.mark.parametrize("left", [-86_400.0, 0.0, LEAST_SECONDS - 0.01])
def test_no_call_begins_without_time(left: float) -> None:
    turn = FakeTurn()
    deadline = way(left, turn)
    with pytest.raises(Expired, match="'orders' of app 'shop' was wanted until "):
        deadline.before_call()
    assert turn.asked == 0
    assert deadline.told(Expired("over")) == Told()  # the gate has nothing to learn from it


def test_the_wait_for_the_turn_takes_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = FakeTurn(seconds=5.0)
    deadline = way(20.0, turn)
    began = time.monotonic()
    turn.passed = lambda seconds: monkeypatch.setattr(time, "monotonic", lambda: began + seconds)
    left = deadline.before_call()
    assert left is not None
    assert 14.9 < left <= 15.1

    turn.seconds = 20.0
    with pytest.raises(Expired):
        deadline.before_call()


def test_the_gate_hears_of_the_calls_that_were_made() -> None:
    deadline = way(20.0)
    deadline.before_call()
    assert deadline.told(Expired("over")) == OK
    assert way(20.0).told(ApiUnavailable("away")) == OK


@pytest.mark.parametrize(
    ("unknown", "words"),
    [
        (True, "An earlier call may have created it, as no answer says what it did: look for it"),
        (False, "No call was made for it after that."),
    ],
)
def test_the_words_say_what_is_known_and_what_to_do(unknown: bool, words: str) -> None:
    error = {"class": "ApiUnavailable", "message": "It is away."}
    with pytest.raises(Expired) as expired:
        way(0.0, outcome_unknown=unknown, error=error).check()
    message = str(expired.value)
    assert words in message
    assert "forget job some-job and enqueue it again" in message
    assert "The last attempt had failed: It is away." in message
    assert not expired.value.transient
