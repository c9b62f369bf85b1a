"""Random steps with the jobs of one webhook, held to the promises that their order makes.

What is accepted runs in that order, one at a time; who is next is not held; a change that is asked
for twice is one job; and nothing comes back before what came after it. `tests/chaos/rules.py` is
the model of a job alone.
"""

from __future__ import annotations

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

#: Large, so that nothing is gone but what is forgotten, or after all of that time.
RESULT_TTL = 100_000
PIPE_SIZE = 20
FIRST = "first"
CHANGES = [f"change-{number}" for number in range(4)]


#: Which of the jobs that there were so far: the first creation, the changes, other creations.
numbers = st.integers(0, 9)
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
        #: The latest creation, and the deletes since then that count.
        self.created, self.deletes = FIRST, list[str]()
        self.creations: list[str] = []
        self.claims: dict[str, JobRecord] = {}
        self.tokens = iter(map(str, range(10_000)))

    def teardown(self) -> None:
        self.redis.close()

    def read(self) -> Keyspace:
        return keyspace.read(self.redis)

    def job(self, number: int) -> str:
        jobs = [FIRST, *CHANGES, *self.creations]
        return jobs[number % len(jobs)]

    # Producers.

    @initialize()
    def begin(self) -> None:
        self.create()

    @rule()
    def create(self) -> None:
        """It is the job that it was, unless a delete that counts came after that one."""
        before = self.read()
        new = NewJob(FIRST, 0, "default", "app", {"id": "w"}, None, 2)
        exists = not self.deletes and before.state(self.created) != NONE
        [[added], _] = self.store.add([new])
        job = added.record.id
        assert (added.place == EXISTS) == exists
        assert (before.state(job) != NONE) == exists, f"{job} was before {self.deletes}"
        if exists:
            assert job == self.created
            return
        if job not in (FIRST, *self.creations):
            self.creations.append(job)
        self._join(job)
        self.created, self.deletes = job, []

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
        exists = before.state(want) != NONE
        [[added], _] = self.store.add([new])
        assert (added.record.id, added.place == EXISTS) == (want, exists)
        if not exists:
            self._join(want)
            if action == "delete":
                self._delete(want)

    def _delete(self, job: str) -> None:
        self.deletes = [*(other for other in self.deletes if other != job), job]

    def _join(self, job: str) -> None:
        self.left.pop(job, None)
        self.line = [*(other for other in self.line if other != job), job]

    # Workers.

    @rule(number=numbers)
    def message(self, number: int) -> None:
        """One comes, perhaps too early."""
        self.claim(self.job(number))

    def claim(self, job: str) -> None:
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
            self._finish(job, end)

    @rule(number=numbers, end=ends)
    def finish(self, number: int, end: Literal["SUCCESS", "FAILURE"]) -> None:
        self._finish(self.job(number), end)

    def _finish(self, job: str, end: Literal["SUCCESS", "FAILURE"]) -> None:
        if job in self.claims:
            self.store.finish(self.claims[job], end, error={"class": "ApiUnavailable"})

    @rule(number=numbers, delay=st.sampled_from([0, 20]), unknown=st.booleans())
    def reschedule(self, number: int, delay: int, unknown: bool) -> None:
        job = self.job(number)
        if job in self.claims:
            why = {"class": "ApiUnavailable"}
            flags = {"outcome_unknown": unknown, "uses_attempt": True}
            self.store.reschedule(self.claims[job], delay=delay, error=why, entry={}, **flags)

    @rule(seconds=st.sampled_from([7, 21, 61]))
    def time_goes_by(self, seconds: int) -> None:
        keyspace.forward(self.redis, seconds)
        self.store.take_due(queued=0)

    @rule()
    def records_expire(self) -> None:
        self.time_goes_by(RESULT_TTL + 1)

    # People and beat.

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        job, before = self.job(number), self.read()
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

    @rule(number=numbers, how=st.sampled_from(["fresh", "once", "last"]))
    def retry(self, number: int, how: Literal["fresh", "once", "last"]) -> None:
        job, before = self.job(number), self.read()
        state, held = before.state(job), before.jobs.get(job, {})
        may = state == "FAILURE" and "cancelled" not in held
        if how != "once":
            may = state in {"FAILURE", "REVOKED"}
        takes = may and (how == "last" or not self._is_followed(job))
        [after] = self.store.retry([job], how=how)
        assert after == (("RETRY" if how == "once" else "PENDING") if takes else state)
        if takes:
            action = held.get("action", "create")
            if action == "create" and self.line[-1:] != [job]:
                self.created, self.deletes = job, []
            elif action == "delete":
                self._delete(job)
            self._join(job)

    def _is_followed(self, job: str) -> bool:
        if job in self.left:
            before, was_followed = self.left[job]
            return was_followed or (self.line[-1:] or [before]) != [before]
        return self.line[-1] != job

    @rule(number=numbers)
    def forget(self, number: int) -> None:
        job = self.job(number)
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
        for job in (*self.deletes,):  # what nobody wants, and had no effect
            if found.state(job) == "REVOKED" and "unknown" not in found.jobs[job]:
                self.deletes.remove(job)
        job = self._next(found)
        held = found.jobs.get(job, {})
        if held.get("due_at", found.now + 1) <= found.now:
            waits_until = held.get("waiting", 0)
            assert waits_until <= found.now, f"{job} is next, and held {waits_until - found.now} s"
