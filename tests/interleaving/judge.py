"""What is promised, and whether a run kept it.

The line of a webhook are its jobs in the order in which Redis accepted them. A call whose bytes
left while its attempt had the job may have its effect late: an API cannot be called back. Nor is
it the attempt's fault if it lost the job after it had asked, in less than a lease. Such effects
are counted (`excused`), and the webhook's state at the end says nothing then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.job import Job
from tasks.jobs import EXISTS, LEASE_SECONDS
from tasks.record import JobRecord
from tasks.states import ENDED, UNFINISHED
from tests.interleaving.api import READS, Sent
from tests.interleaving.scheduler import Actor
from tests.interleaving.worker import worker_of

if TYPE_CHECKING:
    from tests.interleaving.world import World

Key = tuple[str, str]
#: Accounts that have due jobs have some in the pipe within so many rounds that served others.
ROUNDS = 6


@dataclass
class Note:
    """What is known of a job."""

    job: str
    action: str
    asked: dict[str, Any]
    triggers: tuple[str, ...]
    account: str
    created_at: float
    joined: int
    #: It ended before anybody claimed it.
    never_ran: bool = False
    ended: Job | None = None
    effects: list[Sent] = field(default_factory=list)


class Judge:
    """Watches a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self.excused = 0
        self.lines: dict[Key, list[Note]] = {}
        self.of: dict[str, tuple[Key, Note]] = {}
        #: Webhooks of which an excused effect came after the job that it was of.
        self.tainted: set[Key] = set()
        self.heard: list[tuple[float, str]] = []
        self.alarms: list[tuple[float, str]] = []
        self.watches_shares = False
        self._passed_over: dict[str, int] = {}
        #: Each job that a step `add` made: the how manyth command that was, when, its id.
        self._adds: list[tuple[int, float, str]] = []

    def says(self, what: str) -> None:
        """A promise is broken."""
        self._world.tell(f"BROKEN: {what}")
        self.broken.append(what)

    # Jobs, as they are accepted.

    def accepts(self, record: JobRecord) -> Note:
        """A job is the last of its webhook's line from the step on that made it."""
        at = next(
            number
            for number, instant, made in self._adds
            if abs(instant - record.created_at) < 0.002 and record.id == made
        )
        key = record.app_id, record.webhook_id
        line = self.lines.setdefault(key, [])
        if record.id in self.of:
            line.remove(self.of[record.id][1])
        self._world.label(record.id, record.more.action)
        note = Note(
            record.id,
            record.more.action,
            dict(record.webhook),
            tuple(record.more.triggers),
            record.account,
            record.created_at,
            at,
        )
        place = next((n for n, one in enumerate(line) if one.joined > at), len(line))
        line.insert(place, note)
        self.of[record.id] = key, note
        return note

    def _rejoins(self, job_id: str) -> None:
        """It was taken up again, behind all others."""
        key, note = self.of[job_id]
        note.joined, note.never_ran = self._world.executed, False
        self.lines[key].sort(key=lambda one: one.joined)

    def answers(self, job: Job, at: int) -> None:
        """A producer was answered with this job, its `at`th command having been the first."""
        known = self.of.get(job.id)
        if known is None or known[1].created_at != job.record.created_at:
            self.accepts(job.record)
            return
        key, note = known
        if note.action != "create":
            return
        behind = self.lines[key][self.lines[key].index(note) + 1 :]
        if gone := [one for one in behind if one.action == "delete" and one.joined < at]:
            if all(one.never_ran or self._came_to_nothing(one) for one in gone):
                return
            label = self._world.labels([one.job for one in gone])
            self.says(
                f"a creation was answered with the old {self._world.label(job.id)} ({job.state}), "
                f"after which {label} was accepted"
            )

    def _came_to_nothing(self, note: Note) -> bool:
        """It was cancelled, or its time was over, without any effect."""
        if note.ended is None or note.ended.effect != "none":
            return False
        error = note.ended.error or {}
        return note.ended.state == "REVOKED" or error.get("class") == "Expired"

    # Attempts.

    def holds_now(self, actor: Actor) -> tuple[bool, bool]:
        """Whether the attempt has its job, and whether it had when it last asked, less than a lease
        ago: one that asked earlier knows by its clock that it may have lost it."""
        is_fresh = self._world.scheduler.now - actor.notes["looked_at"] < LEASE_SECONDS
        return self._holds(actor), is_fresh and bool(actor.notes.get("held"))

    def _holds(self, actor: Actor) -> bool:
        record = actor.notes["attempt"]
        key = f"webhooks:job:{record.id}"
        now = self._world.redis.hmget(key, "state", "attempt", "token")
        return bool(now == ["STARTED", str(record.attempt), record.token])

    def claims(self, actor: Actor, record: JobRecord) -> None:
        """An attempt begins."""
        self._world.tell(f"has claimed {self._world.label(record.id)}, attempt {record.attempt}")
        actor.notes["claimed_at"] = actor.notes["ran_at"]
        actor.notes["held"], actor.notes["looked_at"] = True, actor.notes["ran_at"]

    def before(self, actor: Actor, name: str) -> None:
        """A command is about to be run by the server."""
        notes = actor.notes
        notes["ran_at"] = self._world.scheduler.now
        if "watched" in notes and "was" not in notes:
            notes["was"] = self._world.redis.hget(f"webhooks:job:{notes['watched']}", "state")
            self.look()
        if "attempt" not in notes or "over" in notes:
            return
        notes["held"], notes["looked_at"] = self._holds(actor), notes["ran_at"]
        if notes["held"]:
            return
        notes["over"] = True
        worker = worker_of(actor)
        if worker is not None and worker.disturbed_until < notes["claimed_at"]:
            label = self._world.label(notes["attempt"].id)
            self.says(f"{actor.name} lost {label}, though its worker lives and was not disturbed")

    def after(self, actor: Actor, name: str, answer: Any) -> None:
        """A command was run."""
        notes = actor.notes
        if name == "add":
            notes.setdefault("asked_at", self._world.executed)
            for new, text in zip(notes["adding"], answer[1:], strict=True):
                made = text.split(" ")[1] if " " in text else new.id
                if not text.startswith(EXISTS):
                    self._adds.append((self._world.executed, self._world.clock.now, made))
        if notes.get("was") in ENDED and answer in (["PENDING"], ["RETRY"]):
            self._rejoins(notes["watched"])
            notes["was"] = answer[0]
        if name == "cancel" and answer == "REVOKED":
            attempt = self._world.redis.hget(f"webhooks:job:{notes['watched']}", "attempt")
            self.of[notes["watched"]][1].never_ran = attempt == "0"
        if notes.get("held") and "over" not in notes and not self._holds(actor):
            notes["over"] = True  # its own report
        if name == "take_due" and self.watches_shares:
            self._watch_shares(answer)

    def sends(self, actor: Actor, sent: Sent) -> None:
        """A call that changes something leaves."""
        if sent.job not in self.of:  # its producer has not heard of it yet
            self.accepts(actor.notes["attempt"])
        key, note = self.of[sent.job]
        what = f"{sent.operation} of {self._world.label(sent.job)} by {actor.name}"
        if not sent.is_held and not sent.was_held:
            before = any(one.actor == actor.name and one.changed for one in self._world.api.calls)
            change = "a further" if before else "its first"
            self.says(f"a stale attempt makes {change} change: {what}")
            return
        if not sent.is_held:
            return  # the window that no program can close: an effect of it is late
        states = self._states(self.lines[key])
        at = self.lines[key].index(note)
        early = [one.job for one, state in states[:at] if state in UNFINISHED]
        over = [one.job for one, state in states[at + 1 :] if state == "SUCCESS"]
        if early or over:
            label = self._world.labels(early or over)
            words = "before {} has ended" if early else "after {} has ended"
            self.says(f"{what}, {words.format(label)}")

    def lands(self, sent: Sent) -> None:
        """A call was carried out."""
        if sent.job not in self.of or not sent.changed:
            return
        key, note = self.of[sent.job]
        states = self._states(self.lines[key])
        own = next(state for one, state in states if one is note)
        is_over = own not in UNFINISHED
        if is_over or not sent.is_held:
            sent.is_late = True
            self.excused += 1
            self._world.tell(f"late: {sent.operation} of {self._world.label(sent.job)}")
        if is_over:
            self.tainted.add(key)
        else:
            note.effects.append(sent)

    def _states(self, line: list[Note]) -> list[tuple[Note, str | None]]:
        pipe = self._world.redis.pipeline(transaction=False)
        for one in line:
            pipe.hget(f"webhooks:job:{one.job}", "state")
        return list(zip(line, pipe.execute(), strict=True))

    # Shares.

    def _watch_shares(self, answer: Any) -> None:
        taken = {self.of[one][1].account for one in answer[0] if one in self.of}
        client, now = self._world.redis, self._world.clock.now
        waiting = client.zrangebyscore("webhooks:waiting", "-inf", now)
        due = {self.of[one][1].account for one in waiting if one in self.of}
        inside = client.zrange("webhooks:published", 0, -1)
        served = {self.of[one][1].account for one in inside if one in self.of}
        for account in self._world.accounts:
            if account in served or account not in due:
                self._passed_over[account] = 0
            elif taken:
                self._passed_over[account] = self._passed_over.get(account, 0) + 1
                if self._passed_over[account] == ROUNDS:
                    self.says(f"account {account} was passed over in {ROUNDS} rounds")

    # The end.

    def look(self) -> None:
        """Keep what has ended: its record may be forgotten, or expire."""
        store = self._world.stores.of_loops
        ids = list(self.of)
        pipe = self._world.redis.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(f"webhooks:job:{job_id}")
        for job_id, fields in zip(ids, pipe.execute(), strict=True):
            if fields.get("state") in ENDED:
                self.of[job_id][1].ended = Job(JobRecord.read(job_id, fields), store)
            elif fields:
                self.of[job_id][1].ended = None

    def notes(self) -> Iterator[tuple[Key, Note]]:
        """Every job."""
        yield from self.of.values()

    def effects_of(self, note: Note) -> list[Sent]:
        """What its calls changed while it was unfinished."""
        return [one for one in note.effects if one.operation not in READS]
