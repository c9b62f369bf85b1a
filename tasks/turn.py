"""One attempt's way to its calls: through the gate, and past the fence.

Between a claim and a call anything may happen: the process may be frozen, Redis may be away, the
job may be another attempt's by then. So the fence stands before every call that changes something,
as the last thing before its bytes: the attempt has made sure within the last `FRESH_SECONDS` that
it still holds its job. A fresh claim is proof enough, and so is the step that gives a further call
its turn; only what took longer is looked up by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from tasks.errors import AccountRejected, ApiFailure, Interrupted, RateLimited, WorkerCrashed
from tasks.gate import HEARD, Told
from tasks.jobs import LEASE_SECONDS, JobStore
from tasks.rate_headers import Announced, announced
from tasks.record import JobRecord

#: Within so many seconds of a proof that it holds its job an attempt's lease cannot have ended.
FRESH_SECONDS: Final = LEASE_SECONDS / 2
#: So often in a row the proof may be too old when it comes.
PROOFS: Final = 3

#: When this process met an account's latest 429, by `clock()`. An attempt that the gate let through
#: before that, and that has made no call yet, makes none.
_limited_at: dict[str, float] = {}


class Held(Interrupted):
    """The gate lets no call through now: the job waits, and has used up nothing."""


class Superseded(Interrupted):
    """The attempt was held up so long that its job is another's by now, or has ended."""


class Cancelled(Interrupted):
    """A person cancelled the job before this attempt changed anything."""


def clock() -> float:
    """Seconds that go on while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Turn:
    """The attempt's way through the gate and past the fence.

    `Deadline`, which the client asks before each call, asks it in turn.

    Args:
        store: where the job and its account's gate are.
        job: as it was claimed, with the first call's turn.
        since: `clock()` from before the claim.
        leaving: set once the process has handed back its jobs; ends every wait.
    """

    def __init__(
        self, store: JobStore, job: JobRecord, since: float, leaving: threading.Event
    ) -> None:
        self._store, self._job, self._leaving = store, job, leaving
        self._next: float | None = job.turn_in
        self._held_at = self._claimed_at = since
        #: Whether a call that changes something has been let through.
        self.may_have_changed = False
        self._called_at = 0.0
        self._answered = 0
        self._announced: Announced | None = None

    def before_call(self) -> None:
        """Wait for the turn of a call.

        Raises `Held`, `Superseded`, `Cancelled`, `StoreUnavailable`.
        """
        self._leaving.wait(self._ask() if self._next is None else self._next)
        if self._next is not None and _limited_at.get(self._job.account, 0.0) > self._claimed_at:
            raise Held
        self._next = None
        self._called_at = time.monotonic()

    def before_bytes(self) -> None:
        """Pass the fence: the next bytes change something.

        Raises `Superseded`, `Cancelled`, `StoreUnavailable`.
        """
        for _ in range(PROOFS):
            if self._leaving.is_set():
                break
            if clock() - self._held_at < FRESH_SECONDS:
                self.may_have_changed = True
                return
            asked_at = clock()
            _stop(self._store.holds(self._job, obeys=not self.may_have_changed))
            self._held_at = asked_at
        raise Superseded

    def _ask(self) -> float:
        asked_at, obeys = clock(), not self.may_have_changed
        wait, why = self._store.gate.ask(self._job, lease=LEASE_SECONDS, obeys=obeys)
        if wait < 0:
            _stop(why)
            raise Held
        self._held_at = asked_at
        return wait

    def after_call(self, headers: Mapping[str, str]) -> None:
        """Note that there was an answer, and what it announced."""
        self._answered += 1
        self._announced = announced(headers, now=time.time()) or self._announced

    def told(self, failure: ApiFailure | None = None) -> Told:
        """What there is to tell, the attempt having ended so."""
        if self._next is not None or isinstance(failure, WorkerCrashed):
            return Told()  # no call was made, or nobody knows what became of it
        kind = next((k for k in HEARD if isinstance(failure, k)), None)
        what = "ok" if kind is None else HEARD[kind]
        if isinstance(failure, AccountRejected) and failure.is_sure:
            what = "rejected"
        wait = None
        if isinstance(failure, RateLimited):
            wait = failure.retry_after
            _limited_at[self._job.account] = clock()
        ago = time.monotonic() - self._called_at
        return Told(what, wait, self._announced, ago, self._answered)


def _stop(answer: str) -> None:
    """Raise what an attempt is told that may not go on."""
    if answer == "lost":
        raise Superseded
    if answer == "cancelled":
        raise Cancelled
