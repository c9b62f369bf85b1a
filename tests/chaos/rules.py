"""Every step that anybody can take with a job, drawn by hypothesis.

What is drawn never depends on what Redis answered: a seed is enough to see the same again.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tasks import jobs
from tasks.errors import JobNotFound
from tasks.record import NewJob
from tasks.states import NONE, STATES
from tasks.steps import Steps
from tests.chaos.machine import FAILED_TTL, Machine
from tests.chaos.predicted import ROUNDED
from tests.chaos.reference import Claim

ids = st.sampled_from([f"job-{number}" for number in range(3)])
some_ids = st.lists(ids, min_size=1, max_size=3, unique=True)
workers = st.sampled_from(["w1", "w2", "w3"])
clients = st.integers(0, 1)
#: Which of a job's attempts reports: mostly the latest, often an earlier one.
lates = st.sampled_from([0, 0, 0, 1, 2])
delays = st.sampled_from([0, 0, 20, 600])
errors = st.sampled_from(["ApiUnavailable", "RateLimited"])
ends = st.sampled_from(["SUCCESS", "FAILURE"])
flags = st.booleans()
#: Seconds after which a lease is over, and any hint.
OVER = int(max(jobs.LEASE_SECONDS, jobs.HINT_SECONDS)) + 1


class JobMachine(Machine):
    """Producers, workers, dispatchers, beat and people, on one Redis."""

    # Producers.

    @initialize(later=st.sampled_from([0, 0, 20]))
    def begin(self, later: int) -> None:
        self.add(client=0, some=["job-0", "job-1", "job-2"], later=later)

    @rule(client=clients, some=some_ids, later=st.sampled_from([0, 0, 0, 20, 3600]))
    def add(self, client: int, some: list[str], later: int) -> None:
        self.step = "add"
        due = round(self.reference.now + later, 3) if later else 0
        new = [_new(job, due) for job in some]
        want = self.reference.add(new)
        answers, _ = self.stores[client].add(new)
        self.agree([answer.place for answer in answers], want)

    # Workers.

    @rule(client=clients, which=st.integers(0, 5), worker=workers)
    def message(self, client: int, which: int, worker: str) -> None:
        """A worker gets a message, not always the oldest."""
        if self.queue:
            self.foreign_message(client, self.queue.pop(which % len(self.queue)), worker)

    @rule(client=clients, job=ids, worker=workers)
    def foreign_message(self, client: int, job: str, worker: str) -> None:
        """A message that was doubled, or late, or that nobody sent."""
        self._claim(client, job, worker, f"token-{len(self.claims)}")

    @rule(client=clients, job=ids, late=lates)
    def claim_again(self, client: int, job: str, late: int) -> None:
        """The answer to a claim was lost: it is asked again, perhaps much later."""
        if claim := self._pick(job, late):
            self._claim(client, claim.record.id, str(claim.record.worker), claim.token)

    def _claim(self, client: int, job: str, worker: str, token: str) -> None:
        self.step = "claim"
        had = self.before.state(job) == "STARTED"
        want = self.reference.claim(job, worker, token)
        record = self.stores[client].claim(job, worker=worker, token=token)
        self.agree(str(record.attempt) if record else None, want)
        if record and not had:
            assert job not in self.cancelled, "a cancelled job was claimed"
            self.claims.append(Claim(record, token))

    def _pick(self, job: str, late: int) -> Claim | None:
        claims = [claim for claim in self.claims if claim.record.id == job]
        return claims[-1 - late % len(claims)] if claims else None

    @rule(client=clients, worker=workers, some=some_ids)
    def renew(self, client: int, worker: str, some: list[str]) -> None:
        self.step = "renew"
        want = self.reference.renew(worker, some)
        self.agree(self.stores[client].renew(worker, some), want)

    @rule(client=clients, job=ids, late=lates, end=ends, error=errors, unknown=flags, twice=flags)
    def finish(
        self,
        client: int,
        job: str,
        late: int,
        end: Literal["SUCCESS", "FAILURE"],
        error: str,
        unknown: bool = False,
        twice: bool = False,
    ) -> None:
        if not (claim := self._pick(job, late)):
            return
        self.step = "finish"
        outcome: dict[str, Any] = {"error": {"class": error}}
        if end == "SUCCESS":
            outcome = {"result": {"id": claim.record.id}}
        texts = {name: json.dumps(part) for name, part in outcome.items()}
        want = self.reference.finish(claim, end, texts, unknown)
        options = {"entry": {**claim.entry, "outcome": end}, "outcome_unknown": unknown, **outcome}
        store = self.stores[client]
        runs = self.before.state(claim.record.id) == "STARTED"
        assert (store.holds(claim.record) == "held") == (runs and want)
        for _ in range(1 + twice):
            self.agree(store.finish(claim.record, end, **options), want)

    @rule(
        client=clients,
        job=ids,
        late=lates,
        delay=delays,
        unknown=flags,
        uses_one=flags,
        twice=flags,
    )
    def reschedule(
        self,
        client: int,
        job: str,
        late: int,
        delay: int,
        unknown: bool = True,
        uses_one: bool = True,
        twice: bool = False,
    ) -> None:
        if not (claim := self._pick(job, late)):
            return
        self.step = "reschedule"
        why = {"class": "ApiUnavailable"}
        text = json.dumps(why)
        want = self.reference.reschedule(claim, delay, text, unknown, uses_one)
        for _ in range(1 + twice):
            followed = self.stores[client].reschedule(
                claim.record,
                delay=delay,
                error=why,
                entry={**claim.entry, "outcome": text},
                outcome_unknown=unknown,
                uses_attempt=uses_one,
            )
            self.agree(followed and followed.state, want)

    @rule(client=clients, job=ids, worker=workers, end=st.one_of(ends, st.just("RETRY")))
    def attempt(self, client: int, job: str, worker: str, end: Any) -> None:
        """How it goes mostly: a message, a call, a report."""
        self.foreign_message(client, job, worker)
        self.promises()
        if end == "RETRY":
            self.reschedule(client, job, 0, 0)
        else:
            self.finish(client, job, 0, end, "ApiUnavailable")

    @rule(client=clients, worker=workers, some=some_ids)
    def hand_back(self, client: int, worker: str, some: list[str]) -> None:
        """A worker stops, and names what it has received or runs, or believes so."""
        self.step = "hand_back"
        want = self.reference.hand_back(worker, some)
        self.agree(self.stores[client].hand_back(worker, some), want)

    # Dispatchers.

    @rule(client=clients, wrong=st.one_of(st.none(), st.none(), st.integers(0, 6)))
    def tick(self, client: int, wrong: int | None) -> None:
        """What is due is published; the broker may say any length of its queue."""
        self.forward(1)  # what this step makes due comes after all that was due
        self.step = "take_due"
        queued = len(self.queue) if wrong is None else wrong
        due = self.stores[client].take_due(queued=queued)
        chosen = due.hints
        hints, next_due = self.reference.take_due(queued, chosen)
        self.agree(list(due.hints), hints)
        self.agree(due.next_due is None, next_due is None)
        held_up = self.stores[client].clock() - self.reference.now
        gap = (next_due or 0) - (due.next_due or 0)
        assert -ROUNDED <= gap <= held_up + ROUNDED, (next_due, due.next_due)
        self.queue += due.hints

    @rule(client=clients)
    def good_tick(self, client: int) -> None:
        """How it goes mostly."""
        self.tick(client, None)

    @rule(client=clients)
    def take_untold(self, client: int) -> None:
        self.step = "take_untold"
        want = self.reference.take_untold()
        self.agree(self.stores[client].take_untold(), want)

    @rule(client=clients, job=ids, alerted=st.one_of(st.none(), errors))
    def told(self, client: int, job: str, alerted: str | None) -> None:
        """It was told what it is."""
        self.tell(client, [job], self.reference.state(job), alerted)

    @rule(client=clients, some=some_ids, state=st.sampled_from([NONE, *sorted(STATES)]))
    def told_late(self, client: int, some: list[str], state: str) -> None:
        """Some were, and others are something else by now."""
        self.tell(client, some, state, None)

    def tell(self, client: int, some: list[str], state: str, alerted: str | None) -> None:
        self.step = "told"
        want = self.reference.told(some, state, alerted)
        self.agree(self.stores[client].told(some, state, alerted=alerted), want)
        self.told_of.update(job for job in some if job not in want)

    @rule(client=clients, job=ids)
    def alert(self, client: int, job: str) -> None:
        self.step = "alert"
        try:
            record = self.stores[client].get(job)
        except JobNotFound:
            return
        want = self.reference.may_alert(job, record.failure)
        self.agree(self.stores[client].may_alert(record), want)

    # People and beat.

    @rule(client=clients, job=ids)
    def cancel(self, client: int, job: str) -> None:
        self.step = "cancel"
        want = self.reference.cancel(job)
        try:
            state, _ = self.stores[client].cancel(job)
        except JobNotFound:
            state = NONE
        self.agree(state, want)
        if state in {"REVOKED", "STARTED"}:
            self.cancelled.add(job)

    @rule(client=clients, some=some_ids, delay=delays, spacing=st.sampled_from([0, 60]))
    def retry_fresh(self, client: int, some: list[str], delay: int, spacing: int) -> None:
        self.step = "retry fresh"
        want = self.reference.retry(some, "fresh", delay, spacing)
        due = self.reference.now + delay
        store = self.stores[client]
        self.agree(store.retry(some, how="fresh", due=due, spacing=spacing), want)
        self.cancelled -= {job for job in some if self.reference.state(job) == "PENDING"}

    @rule(client=clients, some=some_ids)
    def retry_once(self, client: int, some: list[str]) -> None:
        self.step = "retry once"
        want = self.reference.retry(some, "once", 0, 0)
        self.agree(self.stores[client].retry(some, how="once"), want)

    @rule(client=clients, some=some_ids)
    def forget(self, client: int, some: list[str]) -> None:
        self.step = "forget"
        want = self.reference.forget(some)
        self.agree(self.stores[client].forget(some), want)

    @rule(client=clients)
    def prune(self, client: int) -> None:
        self.step = "prune"
        want = self.reference.prune()
        self.agree(self.stores[client].prune(failed_ttl=FAILED_TTL), want)

    # What happens to all of them.

    @rule(seconds=st.sampled_from([1, 4, OVER, OVER, 16, 61, 101, 301, 700]))
    def time_goes_by(self, seconds: int) -> None:
        self.step = "expire"
        self.forward(seconds)

    @rule(
        client=clients, who=st.sampled_from(["client", "client", "steps", "garbage", "connections"])
    )
    def death(self, client: int, who: str) -> None:
        """A client is gone with all that it knew, or the server has forgotten its clients."""
        if who == "client":
            self.stores[client] = self.connect()
        elif who == "steps":
            self.redis.function_flush()
        elif who == "garbage":
            library = Steps().library
            call = f"redis.register_function{{function_name='{library}', callback=function() end}}"
            self.redis.function_load(f"#!lua name={library}\n{call}", replace=True)
        else:
            self.redis.client_kill_filter(_type="normal", skipme=True)


def _new(job: str, due: float) -> NewJob:
    """One of them has no password."""
    marks, sealed = ((), None) if job == "job-0" else (("key.mark",), "sealed")
    return NewJob(job, due, "default", "app", {"id": job}, sealed, 2, marks=marks)
