"""The fence before each call that changes something."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tasks import turn
from tasks.errors import AccountRejected, CallRefused, RateLimited
from tasks.turn import FRESH_SECONDS, PROOFS, Cancelled, Held, Superseded, Turn
from tests.unit.test_ensure import UNKNOWN

JOB = replace(UNKNOWN, state="STARTED", attempt=3, token="t1")


class Store:
    """Answers with what is left of its scripts, the last one for ever; time passes meanwhile."""

    def __init__(self, *, gate: Any = (0.0, ""), holds: str = "held", seconds: float = 0.0) -> None:
        self.gate = self
        self.answers = {"ask": gate, "holds": holds}
        self.asked: list[tuple[str, bool]] = []
        self.now, self.seconds = 1_000.0, seconds

    def ask(self, job: Any, *, lease: float, obeys: bool) -> Any:
        return self._answer("ask", obeys)

    def holds(self, job: Any, *, obeys: bool) -> Any:
        return self._answer("holds", obeys)

    def _answer(self, what: str, obeys: bool) -> Any:
        self.asked.append((what, obeys))
        self.now += self.seconds
        return self.answers[what]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An attempt that was claimed so many seconds ago."""

    def begun(store: Store, *, ago: float = 0.0, leaving: bool = False) -> Turn:
        monkeypatch.setattr(turn, "clock", lambda: store.now)
        event = threading.Event()
        if leaving:
            event.set()
        return Turn(store, JOB, store.now - ago, event)  # type: ignore[arg-type]

    return begun


def change(attempt: Turn) -> None:
    """A call that changes something."""
    attempt.before_call()
    attempt.before_bytes()


def test_what_was_let_through_before_a_429_makes_no_call(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "_limited_at", {})
    store = Store()
    attempt, limited, calling = begin(store), begin(store), begin(store)
    calling.before_call()
    limited.before_call()
    store.now += 1
    assert limited.told(RateLimited("too many")).what == "limited"
    with pytest.raises(Held):
        attempt.before_call()
    assert attempt.told().what == ""  # it made none
    calling.before_bytes()  # what has begun goes on
    change(begin(store))  # the gate knew of it
    assert store.asked == []


def test_a_fresh_claim_is_proof_enough(begin: Any) -> None:
    store = Store(holds="lost")
    change(begin(store))
    assert store.asked == []


@pytest.mark.parametrize(
    ("answer", "stops"), [("held", None), ("lost", Superseded), ("cancelled", Cancelled)]
)
def test_an_old_claim_is_looked_up(begin: Any, answer: str, stops: Any) -> None:
    store = Store(holds=answer)
    attempt = begin(store, ago=FRESH_SECONDS)
    if stops is None:
        change(attempt)
        assert attempt.may_have_changed
    else:
        with pytest.raises(stops):
            change(attempt)
        assert not attempt.may_have_changed
    assert store.asked == [("holds", True)]


def test_an_old_claim_may_read(begin: Any) -> None:
    store = Store(holds="lost")
    begin(store, ago=FRESH_SECONDS).before_call()
    assert store.asked == []


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize(
    ("answer", "stops"),
    [((-1.0, "lost"), Superseded), ((-1.0, "cancelled"), Cancelled), ((-1.0, "rejected"), Held)],
)
def test_a_further_call_asks_with_its_turn(
    begin: Any, answer: Any, stops: Any, changes: bool
) -> None:
    store = Store()
    attempt = begin(store)
    attempt.before_call()
    store.answers["ask"] = answer
    with pytest.raises(stops):
        change(attempt) if changes else attempt.before_call()


def test_every_change_is_behind_the_fence_and_only_the_first_obeys_a_cancellation(
    begin: Any,
) -> None:
    store = Store()
    attempt = begin(store)
    for _ in range(3):
        change(attempt)
    assert store.asked == [("ask", False), ("ask", False)]


def test_a_gate_that_took_its_time_to_answer_is_no_proof(begin: Any) -> None:
    """As without Redis for 8 s: the answer is of an instant at which the lease was another's."""
    store = Store(holds="lost", seconds=8.0)
    attempt = begin(store)
    attempt.before_call()
    with pytest.raises(Superseded):
        change(attempt)
    assert store.asked == [("ask", True), ("holds", True)]


def test_a_fence_that_is_always_too_late_lets_nothing_through(begin: Any) -> None:
    store = Store(seconds=8.0)
    with pytest.raises(Superseded):
        change(begin(store, ago=8.0))
    assert len(store.asked) == PROOFS


def test_a_process_that_leaves_changes_nothing(begin: Any) -> None:
    with pytest.raises(Superseded):
        change(begin(Store(), leaving=True))


@pytest.mark.parametrize(
    ("status", "code", "what"),
    [
        (401, None, "rejected"),
        (None, None, "rejected"),  # a certificate
        (403, "ERR_SUBSCRIPTION_EXPIRED", "rejected"),
        (403, "AUTH_ERR_NO_ACCESS", "refused"),
        (403, None, "refused"),
        (302, None, "refused"),
        (404, None, "refused"),
    ],
)
def test_the_gate_hears_whether_it_is_the_account_for_sure(
    begin: Any, status: int | None, code: str | None, what: str
) -> None:
    attempt = begin(Store())
    attempt.before_call()
    assert attempt.told(AccountRejected("no", status=status, code=code)).what == what
    assert attempt.told(CallRefused("no", status=status, code=code)).what == "own"
