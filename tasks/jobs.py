"""The job records in Redis, and the atomic steps that move them.

The record is the truth; a Celery message is only a hint to look at it. Each step is one
function in Redis (`tasks/lua/`) that checks the state it expects and uses Redis's clock; a stale
attempt changes nothing, and repeating a step whose answer was lost is harmless.

Keys, all under `webhooks:`

    job:<id>    hash    the record, see below. Ended ones expire after RESULT_TTL seconds; failed
                        ones are kept until `prune` finds them older than FAILED_TTL.
    sealed:<id> string  the job's sealed password, see `tasks/sealing.py`; erased when the job ends
                        in SUCCESS or REVOKED, else deleted with the record. A key of its own, which
                        producers may write and not read
    waiting     zset    id -> due time: new jobs, and retries until their backoff is over
    wake        list    one entry, once a step has made a job due at once or opened a gate, until
                        a dispatcher takes it
    published   zset    id -> hint expiry: a message with this id is in the pipe, or about to be
    running     zset    id -> lease end: a worker has claimed it
    failed      zset    id -> time of the failure
    index       zset    id -> time of enqueueing: every job, pruned when its record is gone
    expiring    zset    id -> time from which nobody needs it, or later once it was published to be
                        told so: the unfinished jobs with `expires_at`
    untold      zset    id -> time at which the result backend (and Sentry, of a failure) is told of
                        it by any worker, if that was not done by then: jobs that have ended, wait
                        again without a report, or have no record any more
    round:<name> string ends by itself: a round of this name began less than its time ago
    ready:<account>:<priority>         zset  id -> its number: in which order those go that are due
    ready:<account>:<priority>:numbers hash  what the numbers are made from; gone with the last one
    order       hash    until when those that became due have been put in order; a bulk job's turn;
                        when a job of an account that is not served was tried
    gate:<account> hash what the jobs of an account share, see `tasks/gate.py`; kept for ever
    chain:<id>  hash    the jobs of the webhook whose create job has this id, if there were others:
                        `latest`, the last of them; `create`, the last that creates; `deleted`, the
                        deletes behind that; `kept_until`, when the last record of one that ended
                        in it expires. Kept as long as every record that it knows
    audit       stream  who changed what by command line or remote control, and what came of it: the
                        latest 10,000 entries or a few more, see `tasks/audit.py`
    probe:<any> string  deleted at once: `tasks/durability.py` tries the server with it

An unfinished job is in exactly one of waiting, published and running.

Fields of a record: `v` (1, the version of this layout; a later one is left to its workers), `state`
(Celery's words), `account`, `app_id`, `webhook` (JSON as on the wire, no password), `mark` (tells
whether another password is the same), `webhook_version` ('2' or '' for legacy), `attempt` (number
of the latest claim), `attempts` (used up), `holds` (waits in a row for the account), `unknown`
('1': an earlier call may have had its effect), `cancelled` ('1': asked for during a call), `worker`
(the process, see `tasks/identity.py`) and `token` (both of the latest claim), `created_at`,
`due_at`, `first_attempt_at`, `started_at`, `ended_at` (unix seconds), `result`, `error` (JSON),
`history` (a line of JSON per attempt, the latest 20), `alerted` (the failure that Sentry was told
last), `alerting` (until when somebody is telling it the next), `refused_at` (when the API refused
it last as it would refuse its account), `quiet_until` (when the calls of its lost attempts are
over: the next job of its webhook waits until then), `closed_before` (seconds for which the
account's gate had been closed at the first attempt), `run_again` ('1': the running attempt's
success is not to be the last, see `lua/recheck.lua`); `priority`, `group`, `on_existing`,
`triggers` (JSON), `action` and `expires_at` (unix seconds) where they were asked for, see `More` in
`tasks/more.py`; `after` and `next` (ids: the jobs of the same webhook around this one) and `chain`
(the id of its create job), see `lua/chain.lua`. A job whose `after` is unfinished waits in no line,
and a dispatcher looks at it once a minute until that one's end wakes it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

from pydantic import SecretStr

from config.accounts import DEFAULT
from config.redis_tls import DEFAULT_TLS, RedisTls
from config.settings import Durability
from tasks.audit import Audit
from tasks.errors import JobNotFound
from tasks.gate import Gate, Limits, Told
from tasks.record import Added, Due, JobRecord, NewJob, Rescheduled, is_known, read_all
from tasks.redis import Connection
from tasks.slots import OTHERS
from tasks.states import PLACES
from tasks.steps import PREFIX as PREFIX

T = TypeVar("T")

#: A dead worker's jobs run again after this at the latest, plus a dispatcher's tick.
LEASE_SECONDS: Final = 6.0
#: An attempt that runs for so long is told to the result backend as STARTED.
SLOW_SECONDS: Final = 1.0
#: Who is telling Sentry of a failure has done so within this, or is dead.
ALERT_SECONDS: Final = 60.0
#: A hint that nobody claimed for so long and that is not in the queue any more is lost.
HINT_SECONDS: Final = 5.0
#: What no dispatcher sees to for so long, and a little while more, has none.
OVERDUE_SECONDS: Final = 5.0
#: Jobs or ids in one step: Redis is busy for some milliseconds with so many.
STEP_LIMIT: Final = 250

#: What `add` says of each job.
WAITING, EXISTS, DAMAGED = "waiting", "exists", "damaged"


def slices(items: Sequence[T], size: int = STEP_LIMIT) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`, so that no step keeps Redis busy for long."""
    return (items[start : start + size] for start in range(0, len(items), size))


class JobStore:
    """All access to the records.

    Args:
        url: where Redis is.
        pipe_size: at how many jobs there may be hints at once.
        result_ttl: seconds that the record of an ended job is kept.
        call_seconds: that a call to the API takes at most.
        patience: seconds during which a step that meets no Redis is tried again.
        limits: of the gate that each account's jobs pass.
        accounts: those whose jobs are published from here.
        tls: whom to trust and who we are, if the URL says that there is TLS.
        appendfsync: what is known of this setting of the server, should it not tell.
        connections: how many there are at once; threads wait for them.

    Every method raises `StoreUnavailable` when Redis cannot be reached or refuses to write.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        pipe_size: int,
        result_ttl: int,
        patience: float,
        limits: Limits = Limits(),  # noqa: B008  it is immutable
        accounts: Sequence[str] = (DEFAULT,),
        tls: RedisTls = DEFAULT_TLS,
        appendfsync: str | None = None,
        call_seconds: float = 0.0,
        connections: int = OTHERS,
    ) -> None:
        self._connection = Connection(
            url,
            prefix=PREFIX,
            patience=patience,
            tls=tls,
            appendfsync=appendfsync,
            connections=connections,
        )
        self._redis = self._connection.redis
        self._run = self._connection.run
        self._step = self._connection.step
        self._pipelined = self._connection.pipelined
        self.server_facts, self.require = self._connection.server_facts, self._connection.require
        self.find_steps = self._connection.find_steps
        self.other_libraries = self._connection.other_libraries
        self._pipe_size = pipe_size
        self._result_ttl = result_ttl
        self._call = call_seconds
        self.accounts = tuple(accounts)
        #: Who changed what.
        self.audit = Audit(self._connection, PREFIX)
        #: What the jobs of an account share.
        self.gate = Gate(self._connection, limits)

    def add(
        self, jobs: Sequence[NewJob], *, durability: Durability = "memory"
    ) -> tuple[list[Added], bool]:
        """Write the records of new jobs; those that exist stay as they are.

        Each comes back with its record and place: WAITING, EXISTS or DAMAGED (it exists, and is
        left as it is). A dispatcher is woken for those that are due. And whether all of them are
        as durable as asked; they are recorded either way. Its id may be another than was
        proposed: that of a job that asks for the same, or of a creation after a delete.
        """
        writes = int(durability != "memory")
        fields = [[field for job in some for field in job.fields()] for some in slices(jobs)]
        calls = [{"writes": writes, "jobs": flat} for flat in fields]
        told, confirmed = self._connection.steps_confirmed("add", calls, durability)
        added: list[Added] = []
        for some, (now, *flat) in zip(slices(jobs), told, strict=True):
            answers = [
                answer.split(" ") if " " in answer else (answer, job.id, "")
                for job, answer in zip(some, flat, strict=True)
            ]
            existing = [its_id for place, its_id, _ in answers if place == EXISTS]
            known = {record.id: record for record in self.get_many(existing)}
            for job, (place, its_id, after) in zip(some, answers, strict=True):
                new = job.record(float(now), its_id, after or None)
                record = known.get(its_id) if place == EXISTS else new
                if record is None and self._run(self._redis.exists, f"{PREFIX}job:{its_id}"):
                    record = new  # a later version's, which cannot be read
                if record is None:  # it expired in this very moment: it is new after all
                    [one], sure = self.add([job], durability=durability)
                    confirmed = confirmed and sure
                added.append(Added(place, record) if record else one)
        return added, confirmed

    def get(self, job_id: str) -> JobRecord:
        """Read one record. Raises `JobNotFound`, or `RecordUnreadable` if it is damaged."""
        [fields] = self._pipelined("HGETALL", [f"job:{job_id}"])
        if not is_known(fields):
            raise JobNotFound(f"There is no job {job_id}: never enqueued, or ended and pruned.")
        return JobRecord.read(job_id, fields)

    def latest_of(self, first: str) -> str:
        """The id of the latest job of the webhook whose create job has this id."""
        return self._run(self._redis.hget, f"{PREFIX}chain:{first}", "latest") or first

    def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Read the records that exist, in the order asked for.

        Those of a later layout are left out, and damaged ones, of which a log line tells.
        """
        found: list[JobRecord] = []
        for ids in slices(job_ids):
            hashes = self._pipelined("HGETALL", [f"job:{job_id}" for job_id in ids])
            found += read_all(zip(ids, hashes, strict=True))
        return found

    def with_passwords(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """These records, those that have a password with it as it is sealed now."""
        sealed = self._pipelined("GET", [f"sealed:{record.id}" for record in records])
        return [
            replace(record, sealed_password=text) if text else record
            for record, text in zip(records, sealed, strict=True)
        ]

    def lacks_password(self, record: JobRecord) -> bool:
        """Whether the job had a password that is erased by now; needs no right to read it."""
        return record.has_password and self._pipelined("EXISTS", [f"sealed:{record.id}"]) == [0]

    def reseal(self, record: JobRecord, sealed: str, mark: str) -> bool:
        """Put another seal in the place of the record's; False if it has another by now."""
        before = record.sealed_password or ""
        return bool(self._step("reseal", id=record.id, before=before, sealed=sealed, mark=mark))

    def walk(
        self,
        place: Literal["index", "failed"] = "index",
        *,
        since: float = 0.0,
        until: float = float("inf"),
        oldest_first: bool = False,
    ) -> Iterator[JobRecord]:
        """All jobs by time of enqueueing, or the failed ones by that of failing, newest first.

        `since` and `until` are unix seconds. None is left out because others come or go meanwhile.
        """
        for ids in self._connection.pages(place, since, until, ascending=oldest_first):
            yield from self.get_many(ids)

    def count(self) -> int:
        """How many jobs there are, more or less: ended ones may have expired."""
        return int(self._run(self._redis.zcard, PREFIX + "index"))

    def counts(self) -> dict[str, int]:
        """How many jobs are waiting, published, running and failed."""
        places = ("waiting", "published", "running", "failed")
        return dict(zip(places, self._pipelined("ZCARD", places), strict=True))

    def cancel(self, job_id: str, *, durability: Durability = "memory") -> tuple[str, bool]:
        """Cancel a job; the state that follows, and whether it is as durable as asked.

        Raises `JobNotFound`.
        """
        call = {"id": job_id, "lifetime": self._result_ttl}
        [state], confirmed = self._connection.steps_confirmed("cancel", [call], durability)
        if state is None:
            raise JobNotFound(f"There is no job {job_id}: never enqueued, or ended and pruned.")
        return str(state), confirmed

    def retry(
        self,
        job_ids: Sequence[str],
        *,
        how: Literal["fresh", "last", "once"],
        due: float = 0.0,
        spacing: float = 0.0,
    ) -> list[str]:
        """Take ended jobs up again; the state of each afterwards, '' where there is none.

        One that a later job of its webhook follows stays as it is, but for "last", behind that.

        The first is due at `due` (unix seconds, at once if that is over), each other `spacing`
        seconds after the one before.
        """
        states: list[str] = []
        for ids in slices(job_ids):
            first = due + spacing * len(states)
            states += self._step("retry", how=how, due=first, spacing=spacing, ids=ids)
        return states

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """Delete the records of jobs that have ended, by then (unix seconds); how many had."""
        ended_by = "" if until is None else until
        some = slices(job_ids)
        return sum(int(self._step("forget", ended_by=ended_by, ids=ids)) for ids in some)

    def prune(self, *, failed_ttl: float) -> int:
        """Delete failed jobs older than `failed_ttl` seconds, and ids whose record is gone."""
        now = self.clock()
        gone = self._forget_older("failed", now - failed_ttl, keep_records=False)
        return gone + self._forget_older("index", now - self._result_ttl, keep_records=True)

    def _forget_older(self, place: str, instant: float, *, keep_records: bool) -> int:
        gone = 0
        for ids in self._connection.pages(place, float("-inf"), instant, ascending=True):
            stay = {record.id for record in self.get_many(ids)} if keep_records else set()
            # What becomes of them meanwhile is seen in the step.
            gone += self.forget([job_id for job_id in ids if job_id not in stay], until=instant)
        return gone

    def claim(self, job_id: str, *, worker: str, token: str) -> JobRecord | None:
        """Take a job that is due, and its account's turn for one call.

        Nothing if it is not due, somebody else has it, the job before it in its webhook's chain has
        not ended, or its account's gate lets none through.
        """
        limits = self.gate.limits
        flat = self._step(
            "claim",
            id=job_id,
            worker=worker,
            token=token,
            lease=LEASE_SECONDS,
            most=limits.most(""),
            probe=limits.probe_seconds,
            rates=[part for account in limits.rates for part in (account, limits.most(account))],
        )
        if not flat:
            return None
        return JobRecord.read(job_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    def holds(self, record: JobRecord, *, obeys: bool = False) -> str:
        """Whether an attempt still has its job: "held", its lease being prolonged, or "lost".

        Or "cancelled", if it `obeys` that still.
        """
        return str(self._step("holds", **record.fence, lease=LEASE_SECONDS, obeys=int(obeys)))

    def recheck(self, record: JobRecord) -> tuple[str, str] | None:
        """Have the webhook's latest job run again, as this job's stale attempt made calls.

        Its id and what comes of it, see `lua/recheck.lua`; nothing if there is no later job.
        """
        answer = self._step("recheck", stale=record.id)
        return (answer[0], answer[1]) if answer else None

    def renew(self, worker: str, job_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Prolong the leases of what this worker runs; (id, attempt) of what is slow."""
        if not job_ids:
            return set()
        seconds = {"lease": LEASE_SECONDS, "seconds": SLOW_SECONDS}
        return set(map(tuple, self._step("renew", worker=worker, ids=job_ids, **seconds)))

    def prepare(self) -> None:
        """Load the steps, for producers too, and run one.

        Raises `StoreRefused` if this process has not the rights of a worker.
        """
        self._connection.load_steps()
        self._connection.find_steps()

    def finish(
        self,
        record: JobRecord,
        state: Literal["SUCCESS", "FAILURE"],
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        entry: Mapping[str, Any] | None = None,
        outcome_unknown: bool = False,
        told: Told = Told(),  # noqa: B008  it is immutable
    ) -> bool:
        """End a job, and tell its account's gate; False if stale, and nothing was changed.

        A success that another attempt has spoilt meanwhile (`recheck`) is not the end: the job is
        RETRY then, and runs again.
        """
        texts = {"result": result, "error": error, "entry": entry}
        answer = self._step(
            "finish",
            **record.fence,
            ends_as=state,
            lifetime=self._result_ttl,
            is_unknown=int(outcome_unknown),
            **{name: json.dumps(part) if part else "" for name, part in texts.items()},
            **self.gate.arguments(record.account, told),
        )
        return bool(answer)

    def reschedule(
        self,
        record: JobRecord,
        *,
        delay: float,
        error: Mapping[str, Any] | None,
        entry: Mapping[str, Any],
        outcome_unknown: bool,
        uses_attempt: bool,
        told: Told = Told(),  # noqa: B008  it is immutable
    ) -> Rescheduled | None:
        """Send a job back to wait for `delay` seconds; what followed, nothing if stale.

        Without an `error` the job keeps the one that it had. If its account's gate is closed, or
        what is `told` closes it, it waits for the gate instead, and has used up no attempt.
        """
        answer = self._step(
            "reschedule",
            **record.fence,
            delay=delay,
            is_unknown=int(outcome_unknown),
            is_free=int(not uses_attempt),
            holds=0 if uses_attempt else record.holds + 1,
            error=json.dumps(error) if error else "",
            entry=json.dumps(entry),
            lifetime=self._result_ttl,
            **self.gate.arguments(record.account, told),
        )
        return Rescheduled(*answer) if answer else None

    def hand_back(self, worker: str, job_ids: Sequence[str]) -> int:
        """Give back what a stopping worker runs or has received; how many there were."""
        if not job_ids:
            return 0
        seconds = {"lifetime": self._result_ttl, "call_seconds": self._call}
        return int(self._step("hand_back", worker=worker, ids=job_ids, **seconds))

    def take_due(self, *, queued: int, batch: int = 1) -> Due:
        """What to publish now, if there are so many messages of `batch` jobs at most."""
        most = self.gate.limits.most
        ids, next_due, hinted = self._step(
            "take_due",
            size=self._pipe_size,
            hint=HINT_SECONDS,
            queued=queued,
            batch=batch,
            limit=STEP_LIMIT,
            lifetime=self._result_ttl,
            call_seconds=self._call,
            rates=[part for account in self.accounts for part in (account, most(account))],
        )
        none_waits = float(next_due) < 0
        return Due(ids, None if none_waits else float(next_due), hinted)

    def wait_for_due(self, seconds: float) -> bool:
        """Wait for the entry in `wake`, and take it; False if there is none within so long."""
        return self._run(self._redis.brpop, PREFIX + "wake", seconds) is not None

    def take_untold(self) -> list[str]:
        """Of which jobs the result backend is overdue to be told, `STEP_LIMIT` at most.

        They are the caller's for some seconds. Some may have no record any more.
        """
        return list(self._step("take_untold", most=STEP_LIMIT))

    def told(
        self, job_ids: Sequence[str], state: str, *, alerted: str | None = None
    ) -> Sequence[str]:
        """The result backend was told that these jobs are in this state; those that are not.

        `state` is NONE for jobs without a record, `alerted` the failure that Sentry heard of.
        """
        return list(self._step("told", tells=state, alerted=alerted or "", ids=job_ids))

    def may_alert(self, record: JobRecord) -> Literal["yes", "another does", "done"]:
        """Whether the caller is to tell Sentry of this job's failure, for `ALERT_SECONDS`."""
        answer = self._step("alert", id=record.id, failure=record.failure, seconds=ALERT_SECONDS)
        return {1: "yes", 0: "another does"}.get(int(answer), "done")  # type: ignore[return-value]

    def begin_round(self, name: str, seconds: float) -> bool:
        """Begin a round of what is done now and then, unless one began within so many seconds."""
        key, lifetime, own = f"{PREFIX}round:{name}", int(seconds * 1000), uuid.uuid4().hex
        if self._run(self._redis.set, key, own, nx=True, px=lifetime):
            return True
        # It may have been begun by this very call, the answer to which was lost.
        return bool(self._run(self._redis.get, key) == own)

    def clock(self) -> float:
        """Redis's clock, the only one that counts: unix seconds."""
        seconds, micros = self._run(self._redis.time)
        return float(seconds + micros / 1e6)

    def scan(self, source: str) -> Iterator[list[str]]:
        """The ids of all records ("job"), of those with a sealed password ("sealed"), or of a set,
        in no order; some may come twice."""
        connection = self._connection
        is_keys = source in ("job", "sealed")
        return connection.scan_keys(f"{source}:") if is_keys else connection.scan(source)

    def unattended(self, *, queued: int) -> set[tuple[str, ...]]:
        """The sets whose first entry is overdue, each with that entry and its time."""
        return set(map(tuple, self._step("unattended", queued=queued, patience=OVERDUE_SECONDS)))

    def judge(
        self, source: str, ids: Sequence[str], *, queued: int, unattended: str, mend: bool
    ) -> list[tuple[str, str, str, int]]:
        """What is wrong with these jobs; see `lua/judge.lua`."""
        findings = self._step(
            "judge",
            mends=int(mend),
            source=source,
            places=json.dumps({state: sorted(places) for state, places in PLACES.items()}),
            lifetime=self._result_ttl,
            lease=LEASE_SECONDS,
            queued=queued,
            unattended=unattended,
            patience=OVERDUE_SECONDS,
            call_seconds=self._call,
            ids=ids,
        )
        return list(map(tuple, findings))
