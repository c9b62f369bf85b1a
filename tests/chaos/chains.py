"""Random steps with the jobs of one webhook, held to the promises that their order makes.

What is accepted runs in that order, one at a time; who is next is not held; a change that is asked
for twice is one job; and nothing comes back before what came after it. `tests/chaos/rules.py` is
the model of a job alone.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import SecretStr

from tasks.errors import JobNotFound
from tasks.jobs import EXISTS, JobStore
from tasks.more import More
from tasks.record import JobRecord, NewJob
from tasks.states import ENDED, NONE, UNFINISHED
from tests.chaos import keyspace
from tests.chaos.keyspace import Keyspace

#: Large, so that nothing is gone but what is forgotten.
RESULT_TTL = 100_000
PIPE_SIZE = 20
FIRST = "first"
CHANGES = [f"change-{number}" for number in range(4)]


def behind(deletion: str) -> str:
    """The id of the creation after a delete."""
    text = hashlib.sha1(f"create after {deletion}".encode(), usedforsecurity=False).hexdigest()
    parts = text[:8], text[8:12], "5" + text[13:16], "8" + text[17:20], text[20:32]
    return "-".join(parts)


ids = st.sampled_from([FIRST, *CHANGES, *map(behind, CHANGES)])
actions: Any = st.sampled_from(["update", "update", "delete", "set_triggers"])
ends = st.sampled_from(["SUCCESS", "FAILURE"])


class ChainMachine(RuleBasedStateMachine):
    """Producers, workers and people who have to do with one webhook."""

    url = ""
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        url = SecretStr(self.url)
        self.store = JobStore(url, pipe_size=PIPE_SIZE, result_ttl=RESULT_TTL, patience=5)
        #: All that ran or may run, in the order that was promised; forgotten ones, too.
        self.line: list[str] = []
        #: Those that ended and never ran: who was before them, and whether somebody was behind.
        self.left: dict[str, tuple[str, bool]] = {}
        self.created, self.deleted = FIRST, ""
        self.claims: dict[str, JobRecord] = {}
        self.tokens = iter(map(str, range(10_000)))

    def teardown(self) -> None:
        self.redis.close()

    def read(self) -> Keyspace:
        return keyspace.read(self.redis)

    # Producers.

    @initialize()
    def begin(self) -> None:
        self.create()

    @rule()
    def create(self) -> None:
        before = self.read()
        want = behind(self.deleted) if self.deleted else self.created
        new = NewJob(FIRST, 0, "default", "app", {"id": "w"}, None, 2)
        self._accepted(new, want, before.state(want) != NONE)
        self.created, self.deleted = want, ""

    @rule(job=st.sampled_from(CHANGES), action=actions, name=st.sampled_from("ab"))
    def change(self, job: str, action: Any, name: str) -> None:
        before = self.read()
        wire = {"id": "w", **({"name": name} if action == "update" else {})}
        new = NewJob(job, 0, "default", "app", wire, None, 2, More(action=action), chain=FIRST)
        want, latest = job, self.line[-1] if self.line else NONE
        if before.state(job) == NONE and before.state(latest) in UNFINISHED:
            fields = self.store.get(latest)
            same = (fields.more.action, fields.webhook) == (action, wire)
            want = latest if same and not fields.cancelled else job
        is_new = self._accepted(new, want, before.state(want) != NONE)
        if is_new and action == "delete":
            self.deleted = job

    def _accepted(self, new: NewJob, want: str, exists: bool) -> bool:
        [[added], _] = self.store.add([new])
        assert (added.record.id, added.place == EXISTS) == (want, exists)
        if not exists:
            self._join(want)
        return not exists

    def _join(self, job: str) -> None:
        self.left.pop(job, None)
        self.line = [*(other for other in self.line if other != job), job]

    # Workers.

    @rule(job=ids)
    def claim(self, job: str) -> None:
        """A message comes, perhaps too early."""
        before = self.read()
        record = self.store.claim(job, worker="w", token=next(self.tokens))
        if record is None:
            return
        earlier = self.line[: self.line.index(job)]
        unfinished = [other for other in earlier if before.state(other) in UNFINISHED]
        assert not unfinished, f"{job} is claimed before {unfinished} have ended"
        self.claims[job] = record

    @rule()
    def tick(self) -> None:
        self.store.take_due(queued=0)

    @rule(end=ends)
    def work(self, end: Literal["SUCCESS", "FAILURE"]) -> None:
        """How it goes mostly: who is next runs, and ends."""
        if job := self._next(self.read()):
            self.claim(job)
            self.finish(job, end)

    @rule(job=ids, end=ends)
    def finish(self, job: str, end: Literal["SUCCESS", "FAILURE"]) -> None:
        if job in self.claims:
            self.store.finish(self.claims[job], end, error={"class": "ApiUnavailable"})

    @rule(job=ids, delay=st.sampled_from([0, 20]))
    def reschedule(self, job: str, delay: int) -> None:
        if job in self.claims:
            why = {"class": "ApiUnavailable"}
            flags = {"outcome_unknown": True, "uses_attempt": True}
            self.store.reschedule(self.claims[job], delay=delay, error=why, entry={}, **flags)

    @rule(seconds=st.sampled_from([7, 21, 61]))
    def time_goes_by(self, seconds: int) -> None:
        keyspace.forward(self.redis, seconds)
        self.store.take_due(queued=0)

    # People and beat.

    @rule(job=ids)
    def cancel(self, job: str) -> None:
        before = self.read()
        try:
            state, _ = self.store.cancel(job)
        except JobNotFound:
            return
        if state != "REVOKED" or before.state(job) == state:
            return
        at = self.line.index(job)
        earlier = [other for other in self.line[:at] if before.state(other) in UNFINISHED]
        if before.jobs[job]["attempt"] == "0" or earlier:
            self.left[job] = self.line[at - 1] if at else NONE, at + 1 < len(self.line)
            self.line.remove(job)

    @rule(job=ids, how=st.sampled_from(["fresh", "once", "last"]))
    def retry(self, job: str, how: Literal["fresh", "once", "last"]) -> None:
        before = self.read()
        state, held = before.state(job), before.jobs.get(job, {})
        may = state == "FAILURE" and "cancelled" not in held
        if how != "once":
            may = state in {"FAILURE", "REVOKED"}
        takes = may and (how == "last" or not self._is_followed(job))
        [after] = self.store.retry([job], how=how)
        assert after == (("RETRY" if how == "once" else "PENDING") if takes else state)
        if takes:
            if self.line[-1:] != [job]:
                self._rejoin_marks(job, held)
            self._join(job)

    def _rejoin_marks(self, job: str, held: Any) -> None:
        if held.get("action", "create") == "create":
            self.created, self.deleted = job, ""
        elif held["action"] == "delete":
            self.deleted = job

    def _is_followed(self, job: str) -> bool:
        if job in self.left:
            before, was_followed = self.left[job]
            return was_followed or (self.line[-1:] or [before]) != [before]
        return self.line[-1] != job

    @rule(job=ids)
    def forget(self, job: str) -> None:
        if self.read().state(job) in ENDED:
            self.store.forget([job])
            self.left.pop(job, None)
            self.claims.pop(job, None)

    # What is promised.

    def _next(self, found: Keyspace) -> str:
        return next((job for job in self.line if found.state(job) in UNFINISHED), "")

    @invariant()
    def promises(self) -> None:
        type(self).steps += 1
        found = self.read()
        wrong = keyspace.broken_promises(found, pipe_size=PIPE_SIZE, result_ttl=RESULT_TTL)
        assert not wrong, "; ".join(wrong)
        job = self._next(found)
        held = found.jobs.get(job, {})
        if held.get("due_at", found.now + 1) <= found.now:
            waits_until = held.get("waiting", 0)
            assert waits_until <= found.now, f"{job} is next, and held {waits_until - found.now} s"
