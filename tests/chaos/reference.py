"""The job machine in plain Python: what each step answers and leaves, by the table of steps.

It is written from the promises, not from Lua: a job moves only as `tasks.states.STEPS` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from tasks.jobs import (
    ALERT_SECONDS,
    EXISTS,
    HINT_SECONDS,
    LEASE_SECONDS,
    SLOW_SECONDS,
    WAITING,
)
from tasks.record import JobRecord, NewJob
from tasks.states import ENDED, NONE, PLACES, STEPS
from tests.chaos.keyspace import HISTORY_LIMIT, WHERE
from tests.chaos.predicted import Held, Now, Predicted

#: Seconds in which a worker tells an outcome before another does.
TELL_SECONDS = 15
PUBLISHED = "published"
#: No backlog is older than so many seconds.
AHEAD = 366 * 86_400
#: A job that was lost more often than this waits longer each time, up to so many seconds.
LOST_AT_ONCE, LONGEST_WAIT = 3, 600


#: Seconds after its end from which on a hint is lost in any case; `lua/take_due.lua` has it, too.
OVERDUE = 10


class Claim(NamedTuple):
    """An attempt: the record as its claim returned it, and the token that asked for it."""

    record: JobRecord
    token: str

    @property
    def entry(self) -> dict[str, Any]:
        """How the job's history begins to tell of it."""
        return {"attempt": self.record.attempt, "worker": self.record.worker}


class Reference(Predicted):
    """Each step as it must be; it changes what is predicted, and returns what Redis must answer."""

    def may(self, step: str, job: str) -> bool:
        """Whether the table lets this step do anything with the job as it is."""
        return self.state(job) in STEPS[step]

    def _move(self, step: str, job: str, to: str, place: str = "", at: float = 0) -> Held:
        """The job in its new state and place; a place of which nothing is said stays."""
        assert to in STEPS[step][self.state(job)], f"{step} never leads to {to}"
        held = self.jobs.setdefault(job, {})
        if to in ENDED:
            _drop(held, *WHERE, "due_at")
            held.update(ended_at=Now(0), untold=Now(TELL_SECONDS))
            if PLACES[to]:
                held["failed"] = Now(0)
            else:
                held["expires"] = Now(self.result_ttl)
                _drop(held, "sealed")
        elif place:
            assert place in PLACES[to]
            _drop(held, *WHERE)
            held[place] = Now(at)
        held["state"] = to
        return held

    def _wait(self, step: str, job: str, to: str, at: float) -> Held:
        held = self._move(step, job, to, WAITING, at)
        held["due_at"] = Now(at)
        return held

    def add(self, jobs: Sequence[NewJob]) -> list[str]:
        """Where each is now."""
        return [self._add(new) for new in jobs]

    def _add(self, new: NewJob) -> str:
        if not self.may("add", new.id):
            return EXISTS
        held = self._move("add", new.id, "PENDING", WAITING)
        held.update(v="1", attempt="0", attempts="0", created_at=Now(0), index=Now(0))
        held["due_at"] = held[WAITING] = new.not_before if new.not_before > self.now else Now(0)
        held.update(account=new.account, app_id=new.app_id, webhook=json.dumps(new.webhook))
        held["webhook_version"] = str(new.webhook_version or "")
        if new.marks:
            held.update(mark=new.marks[0], sealed=new.sealed_password)
        return WAITING

    def claim(self, job: str, worker: str, token: str) -> str | None:
        """The number of the attempt."""
        held = self.jobs.get(job, {})
        if self.state(job) == "STARTED" and held["token"] == token:
            return str(held["attempt"])  # asked again, as the answer was lost
        if not self.may("claim", job) or not (PUBLISHED in held or self.is_due(job, WAITING)):
            return None
        self._move("claim", job, "STARTED", "running", LEASE_SECONDS)
        _drop(held, "due_at")
        for name in ("attempt", "attempts"):
            held[name] = str(int(held[name]) + 1)
        held.setdefault("first_attempt_at", Now(0))
        held.update(started_at=Now(0), worker=worker, token=token)
        return str(held["attempt"])

    def renew(self, worker: str, jobs: Iterable[str]) -> set[tuple[str, str]]:
        """Those that this worker has been running for long, each with its attempt."""
        slow = set()
        for job in jobs:
            held = self.jobs.get(job, {})
            if self.may("renew", job) and held["worker"] == worker:
                self._move("renew", job, "STARTED", "running", LEASE_SECONDS)
                if held["started_at"] + SLOW_SECONDS <= self.now:
                    slow.add((job, held["attempt"]))
        return slow

    def is_current(self, claim: Claim) -> bool:
        """Whether this is the job's latest attempt; of an earlier job with this id it is not."""
        held = self.jobs.get(claim.record.id, {})
        return held.get("attempt") == str(claim.record.attempt) and held["token"] == claim.token

    def holds(self, claim: Claim) -> bool:
        """Whether this attempt has its job still."""
        return self.is_current(claim) and self.state(claim.record.id) == "STARTED"

    def finish(self, claim: Claim, to: str, fields: Mapping[str, str], unknown: bool) -> bool:
        """Whether the job has ended so."""
        job = claim.record.id
        if not self.holds(claim):
            return self.is_current(claim) and self.state(job) == to
        held = self._move("finish", job, to)
        _drop(held, "result", "error")
        held.update(fields)
        if unknown:
            held["unknown"] = "1"
        _remember(held, {**claim.entry, "outcome": to})
        return True

    def reschedule(
        self, claim: Claim, delay: float, why: str, unknown: bool, uses_attempt: bool
    ) -> str | None:
        """The state that follows, nothing if this attempt has no say in it."""
        job = claim.record.id
        if not self.holds(claim):
            told_before = self.is_current(claim) and self.state(job) in {"RETRY", "REVOKED"}
            return self.state(job) if told_before else None
        held = self._end_or_wait("reschedule", job, delay)
        held.update(error=why, holds=str(0 if uses_attempt else claim.record.holds + 1))
        if unknown:
            held["unknown"] = "1"
        if not uses_attempt:
            held["attempts"] = str(int(held["attempts"]) - 1)
        _remember(held, {**claim.entry, "outcome": why})
        return str(held["state"])

    def _end_or_wait(self, step: str, job: str, delay: float) -> Held:
        if "cancelled" in self.jobs[job]:
            return self._move(step, job, "REVOKED")
        return self._wait(step, job, "RETRY", delay)

    def _give_up(self, step: str, job: str, outcome: str, delay: float) -> None:
        """What goes back without a delay has waited its time: it is before all that wait."""
        held = self._end_or_wait(step, job, delay)
        if WAITING in held:
            held["untold"] = Now(0)
        if WAITING in held and not delay:
            held[WAITING] = _ahead(held["created_at"])
        held["unknown"] = "1"
        entry = {"attempt": int(held["attempt"]), "worker": held["worker"], "outcome": outcome}
        _remember(held, entry)

    def take_due(self, queued: int, chosen: Sequence[str]) -> tuple[list[str], float | None]:
        """At whose jobs to hint; seconds until the next is due.

        Which of those that are due come first is no promise, but for what dead workers left:
        as `chosen`, if those may be.
        """
        for job in self.due("running")[: self.limit]:
            lost = 1 + _lost_in_a_row(self.jobs[job])
            wait = min(2**lost, LONGEST_WAIT) if lost > LOST_AT_ONCE else 0
            self._give_up("take_due", job, "lost", wait)
        published = self.count(PUBLISHED)
        hinted = self.due(PUBLISHED)
        overdue = sum(self.jobs[job][PUBLISHED] <= self.now - OVERDUE for job in hinted)
        lost = min(max(published - queued, overdue), self.pipe_size - queued, self.limit)
        taken = hinted[: max(lost, 0)]
        in_pipe = max(published, queued + len(taken))
        room = max(min(self.pipe_size - in_pipe, self.limit - len(taken)), 0)
        due = self.due(WAITING)
        first = [job for job in due if self.jobs[job][WAITING] < _ahead(self.now) + 86_400]
        others = [job for job in chosen[len(taken) + len(first) :] if job in due]
        others += [job for job in due if job not in others and job not in first]
        taken += (first + [job for job in others if job not in first])[:room]
        for job in taken:
            self._move("take_due", job, self.state(job), PUBLISHED, HINT_SECONDS)
        left = [held[WAITING] for held in self.jobs.values() if WAITING in held]
        waits = [at if isinstance(at, Now) else at - self.now for at in left]
        return taken, max(min(waits), 0.0) if waits else None

    def hand_back(self, worker: str, jobs: Iterable[str]) -> int:
        """How many this worker had."""
        back = 0
        for job in jobs:
            held = self.jobs.get(job, {})
            if self.state(job) == "STARTED" and held["worker"] == worker:
                self._give_up("hand_back", job, "handed back", 0)
            elif PUBLISHED in held:
                self._move("hand_back", job, held["state"], WAITING)
                held[WAITING] = _ahead(held["created_at"])
            else:
                continue
            back += 1
        return back

    def cancel(self, job: str) -> str:
        """The state that follows, NONE if there is no such job."""
        if self.may("cancel", job):
            if self.state(job) == "STARTED":
                self.jobs[job]["cancelled"] = "1"
            else:
                self._move("cancel", job, "REVOKED")
        return self.state(job)

    def retry(self, jobs: Sequence[str], how: str, delay: float, spacing: float) -> list[str]:
        """The state of each afterwards; beat never takes up what a person cancelled."""
        for number, job in enumerate(jobs):
            was_cancelled = "cancelled" in self.jobs.get(job, {})
            if not self.may(f"retry {how}", job) or (how == "once" and was_cancelled):
                continue
            if "mark" in self.jobs[job] and "sealed" not in self.jobs[job]:
                continue
            [to] = STEPS[f"retry {how}"][self.state(job)]
            held = self._wait(f"retry {how}", job, to, delay + number * spacing)
            _drop(held, "expires", "ended_at", "cancelled")
            held["untold"] = Now(TELL_SECONDS)
            if how == "fresh":
                _drop(held, "error", "first_attempt_at", "holds", "alerted", "alerting")
                held["attempts"] = "0"
        return [self.state(job) for job in jobs]

    def forget(self, jobs: Iterable[str], step: str = "forget") -> int:
        """How many of these have no record any more."""
        gone = [job for job in jobs if self.may(step, job) or self.state(job) == NONE]
        for job in gone:
            was = self.jobs.pop(job, {})
            if "state" in was:
                self.jobs[job] = {"untold": Now(TELL_SECONDS)}
            elif "untold" in was:
                self.jobs[job] = {"untold": was["untold"]}
        return len(gone)

    def prune(self) -> int:
        """Failed jobs past their time, then ids whose record is gone; how many."""
        gone = self.forget(self.older("failed", self.failed_ttl), "prune")
        left = [job for job in self.older("index", self.result_ttl) if self.state(job) == NONE]
        return gone + self.forget(left)

    def take_untold(self) -> list[str]:
        """Of whom to tell."""
        due = self.due("untold")[: self.limit]
        for job in due:
            self.jobs[job]["untold"] = Now(TELL_SECONDS)
        return due

    def may_alert(self, job: str, failure: str) -> str:
        """Who tells Sentry of it."""
        held = self.jobs.get(job, {})
        if self.state(job) == NONE or held.get("alerted") == failure:
            return "done"
        if held.get("alerting", self.now) > self.now:
            return "another does"
        held["alerting"] = Now(ALERT_SECONDS)
        return "yes"

    def told(self, jobs: Iterable[str], state: str, alerted: str | None) -> list[str]:
        """Nothing is left to tell of those in this state; the others are to be told again."""
        others = []
        for job in jobs:
            if alerted and self.state(job) != NONE:
                self.jobs[job]["alerted"] = alerted
                _drop(self.jobs[job], "alerting")
            if self.state(job) == state:
                _drop(self.jobs.get(job, {}), "untold")
            else:
                self.jobs.setdefault(job, {})["untold"] = Now(0)
                others.append(job)
        return others


def _ahead(since: float) -> float:
    return type(since)(since - AHEAD)  # an instant of this very step stays one


def _drop(held: Held, *names: str) -> None:
    for name in names:
        held.pop(name, None)


def _remember(held: Held, entry: Mapping[str, Any]) -> None:
    held["history"] = (*held.get("history", ()), entry)[-HISTORY_LIMIT:]


def _lost_in_a_row(held: Held) -> int:
    outcomes = [entry.get("outcome") for entry in held.get("history", ())]
    return len(list(takewhile("lost".__eq__, reversed(outcomes))))
