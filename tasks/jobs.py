"""The job records in Redis, and the atomic steps that move them.

The record is the truth; a Celery message is only a hint to look at it. Each step is one Lua
script (`tasks/lua/`) that checks the state it expects and uses Redis's clock; a stale attempt
changes nothing, and repeating a step whose answer was lost is harmless.

Keys, all under `webhooks:`

    job:<id>    hash    the record, see below. Ended ones expire after RESULT_TTL seconds; failed
                        ones are kept until `prune` finds them older than FAILED_TTL.
    waiting     zset    id -> due time: new jobs, and retries until their backoff is over
    published   zset    id -> hint expiry: a message with this id is in the pipe
    running     zset    id -> lease end: a worker has claimed it
    failed      zset    id -> time of the failure
    index       zset    id -> time of enqueueing: every job, pruned when its record is gone
    untold      zset    id -> time at which its outcome, if its worker has not told it to the
                        result backend and Sentry by then, is told by another

An unfinished job is in exactly one of waiting, published and running.

Fields of a record: `v` (1, the version of this layout), `state` (Celery's words), `account`,
`app_id`, `webhook` (JSON as on the wire, no password), `password` (sealed), `webhook_version`
('2' or '' for legacy), `attempt` (number of the latest claim), `attempts` (used up), `holds`
(waits in a row for the account), `unknown` ('1': an earlier call may have had its effect),
`cancelled` ('1': asked for during a call), `worker` and `token` (of the latest claim),
`created_at`, `due_at`, `first_attempt_at`, `started_at`, `ended_at` (unix seconds), `result`,
`error` (JSON), `history` (a line of JSON per attempt, the latest 20), `alerted` (the failure
that Sentry was told last).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import JobNotFound, StoreUnavailable
from tasks.record import Added, Due, JobRecord, NewJob

T = TypeVar("T")

PREFIX: Final = "webhooks:"

#: A dead worker's jobs run again after this at the latest, plus a dispatcher's tick.
LEASE_SECONDS: Final = 10.0
#: An attempt that runs for so long is told to the result backend as STARTED.
SLOW_SECONDS: Final = 1.0
#: A hint that nobody claimed for so long and that is not in the queue any more is lost.
HINT_SECONDS: Final = 10.0
#: Jobs or ids in one step: Redis is busy for some milliseconds with so many.
STEP_LIMIT: Final = 250

#: What `add` says of each job.
PUBLISHED, WAITING, EXISTS = "published", "waiting", "exists"

_LUA: Final = Path(__file__).parent / "lua"
_TRANSIENT: Final = (redis.ConnectionError, redis.TimeoutError)


def slices(items: Sequence[T], size: int = STEP_LIMIT) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`, so that no step keeps Redis busy for long."""
    return (items[start : start + size] for start in range(0, len(items), size))


class JobStore:
    """All access to the records.

    Args:
        url: where Redis is.
        pipe_size: how many messages may exist at most.
        result_ttl: seconds that the record of an ended job is kept.
        patience: seconds during which a step that meets no Redis is tried again.

    Every method raises `StoreUnavailable` when Redis cannot be reached or refuses to write.
    """

    def __init__(self, url: SecretStr, *, pipe_size: int, result_ttl: int, patience: float) -> None:
        self._redis = redis.Redis.from_url(
            url.get_secret_value(),
            decode_responses=True,
            socket_connect_timeout=1.5,
            socket_timeout=3.0,
            socket_keepalive=True,
            health_check_interval=15,
            # The steps are tried again in one place, `_run`.
            retry=Retry(NoBackoff(), 0),
        )
        self._pipe_size = pipe_size
        self._result_ttl = result_ttl
        self._patience = patience
        prelude = (_LUA / "prelude.lua").read_text()
        self._steps = {
            path.stem: self._redis.register_script(prelude + path.read_text())
            for path in _LUA.glob("*.lua")
            if path.stem != "prelude"
        }

    def _run(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        give_up = time.monotonic() + self._patience
        pause = 0.05
        while True:
            try:
                return call(*args, **options)
            except redis.RedisError as error:
                again = isinstance(error, _TRANSIENT) and time.monotonic() + pause < give_up
                problem = f"{type(error).__name__}: {error}"
            if not again:
                raise StoreUnavailable(
                    f"Redis cannot be used just now ({problem}). Nothing is half-done: "
                    "check REDIS_URL and the server, then repeat."
                )
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _step(self, name: str, *args: str | float) -> Any:
        return self._run(self._steps[name], keys=[PREFIX], args=args)

    def _pipelined(self, command: str, keys: Sequence[str]) -> list[Any]:
        """One command for each key, in one round trip."""

        def read() -> Any:
            pipe: Any = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.execute_command(command, PREFIX + key)
            return pipe.execute()

        return self._run(read)  # type: ignore[no-any-return]

    def add(self, jobs: Sequence[NewJob]) -> list[Added]:
        """Write the records of new jobs; those that exist stay as they are.

        Each comes back with its record and place: PUBLISHED (send its message), WAITING, EXISTS.
        """
        added: list[Added] = []
        for some in slices(jobs):
            flat = [field for job in some for field in job.fields()]
            now, *places = self._step("add", self._pipe_size, HINT_SECONDS, *flat)
            existing = [job.id for job, place in zip(some, places, strict=True) if place == EXISTS]
            known = {record.id: record for record in self.get_many(existing)}
            for job, place in zip(some, places, strict=True):
                record = known.get(job.id) if place == EXISTS else job.record(float(now))
                # One that expired in this very moment is new after all.
                added += [Added(place, record)] if record else self.add([job])
        return added

    def get(self, job_id: str) -> JobRecord:
        """Read one record. Raises `JobNotFound`."""
        found = self.get_many([job_id])
        if not found:
            raise JobNotFound(f"There is no job {job_id}: never enqueued, or ended and pruned.")
        return found[0]

    def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Read the records that exist, in the order asked for."""
        found: list[JobRecord] = []
        for ids in slices(job_ids):
            hashes = self._pipelined("HGETALL", [f"job:{job_id}" for job_id in ids])
            found += [JobRecord.read(i, h) for i, h in zip(ids, hashes, strict=True) if h]
        return found

    def walk(self, place: Literal["index", "failed"] = "index") -> Iterator[JobRecord]:
        """All jobs, or the failed ones, newest first; those added meanwhile are left out."""
        seen: set[str] = set()
        start = 0
        while ids := self._run(
            self._redis.zrevrange, PREFIX + place, start, start + STEP_LIMIT - 1
        ):
            # Jobs that are added meanwhile push the rest down: some come by a second time.
            yield from self.get_many([job_id for job_id in ids if job_id not in seen])
            seen = set(ids)
            start += STEP_LIMIT

    def counts(self) -> dict[str, int]:
        """How many jobs are waiting, published, running and failed."""
        places = ("waiting", "published", "running", "failed")
        return dict(zip(places, self._pipelined("ZCARD", places), strict=True))

    def cancel(self, job_id: str) -> str:
        """Cancel a job; the state that follows. Raises `JobNotFound`."""
        state = self._step("cancel", job_id, self._result_ttl)
        if state is None:
            raise JobNotFound(f"There is no job {job_id}: never enqueued, or ended and pruned.")
        return str(state)

    def retry(self, job_ids: Sequence[str], *, how: Literal["fresh", "once"]) -> list[str]:
        """Take ended jobs up again; the state of each afterwards, '' where there is none."""
        return [str(state) for ids in slices(job_ids) for state in self._step("retry", how, *ids)]

    def forget(self, job_ids: Sequence[str]) -> int:
        """Delete the records of jobs that have ended; how many of these had."""
        return sum(int(self._step("forget", *ids)) for ids in slices(job_ids))

    def prune(self, *, failed_ttl: float) -> int:
        """Delete failed jobs older than `failed_ttl` seconds, and ids whose record is gone."""
        now = self.clock()
        gone = self._forget_older("failed", now - failed_ttl, keep_records=False)
        return gone + self._forget_older("index", now - self._result_ttl, keep_records=True)

    def _forget_older(self, place: str, instant: float, *, keep_records: bool) -> int:
        gone = kept = 0
        while ids := self._run(
            self._redis.zrangebyscore, PREFIX + place, "-inf", instant, start=kept, num=STEP_LIMIT
        ):
            stay = {record.id for record in self.get_many(ids)} if keep_records else set()
            drop = [job_id for job_id in ids if job_id not in stay]
            dropped = self.forget(drop)
            gone += dropped
            kept += len(ids) - dropped
        return gone

    def claim(self, job_id: str, *, worker: str, token: str) -> JobRecord | None:
        """Take a job that is due; nothing if it is not, or somebody else has it."""
        flat = self._step("claim", job_id, worker, token, LEASE_SECONDS)
        if not flat:
            return None
        return JobRecord.read(job_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    def renew(self, worker: str, job_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Prolong the leases of what this worker runs; (id, attempt) of what is slow."""
        if not job_ids:
            return set()
        return set(map(tuple, self._step("renew", worker, LEASE_SECONDS, SLOW_SECONDS, *job_ids)))

    def finish(
        self,
        record: JobRecord,
        state: Literal["SUCCESS", "FAILURE"],
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a job; False if the attempt was stale, and changed nothing."""
        texts = (json.dumps(part) if part else "" for part in (result, error, entry))
        attempt = record.id, record.attempt
        return bool(self._step("finish", *attempt, state, *texts, self._result_ttl))

    def reschedule(
        self,
        record: JobRecord,
        *,
        delay: float,
        error: Mapping[str, Any],
        entry: Mapping[str, Any],
        outcome_unknown: bool,
        uses_attempt: bool,
    ) -> str | None:
        """Send a job back to wait for `delay` seconds; RETRY or REVOKED, nothing if stale."""
        return self._step(  # type: ignore[no-any-return]
            "reschedule",
            record.id,
            record.attempt,
            delay,
            int(outcome_unknown),
            int(not uses_attempt),
            0 if uses_attempt else record.holds + 1,
            json.dumps(error),
            json.dumps(entry),
            self._result_ttl,
        )

    def hand_back(self, worker: str, job_ids: Sequence[str]) -> int:
        """Give back what a stopping worker runs or has received; how many there were."""
        return int(self._step("hand_back", worker, self._result_ttl, *job_ids)) if job_ids else 0

    def take_due(self, *, queued: int) -> Due:
        """What to publish now, given how many messages are in the queue."""
        options = self._pipe_size, HINT_SECONDS, queued, STEP_LIMIT, self._result_ttl
        ids, attempts, next_due = self._step("take_due", *options)
        none_waits = float(next_due) < 0
        return Due(list(zip(ids, attempts, strict=True)), None if none_waits else float(next_due))

    def take_untold(self) -> list[JobRecord]:
        """Jobs whose outcome is overdue to be told; they are the caller's for some seconds."""
        return self.get_many(self._step("take_untold", STEP_LIMIT))

    def told(self, job_ids: Sequence[str], *, alerted: str | None = None) -> None:
        """These jobs' outcomes were told; `alerted` is the failure that Sentry heard of."""
        self._step("told", alerted or "", *job_ids)

    def clock(self) -> float:
        """Redis's clock, the only one that counts: unix seconds."""
        seconds, micros = self._run(self._redis.time)
        return float(seconds + micros / 1e6)

    def server_facts(self) -> dict[str, str]:
        """What `python -m worker check` looks at: version, maxmemory-policy, append-only file."""
        facts = self._run(self._redis.info)
        return {
            "version": str(facts.get("valkey_version") or facts.get("redis_version")),
            "maxmemory_policy": str(facts.get("maxmemory_policy")),
            "appendonly": "on" if facts.get("aof_enabled") else "off",
        }
