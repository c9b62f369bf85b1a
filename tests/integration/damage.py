"""A Redis with one sound job of each state, for tests that break something in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tasks.jobs import JobStore
from tasks.record import JobRecord, NewJob, job_id
from tasks.repair import find_problems

ERROR = {"class": "PlanLimit", "code": None, "status": 402, "message": "Full."}
SETS = ("waiting", "published", "running", "failed", "index", "untold")


class Damaged:
    """A Redis with one sound job of each state, and whatever a test breaks."""

    def __init__(self, store: JobStore, client: redis.Redis) -> None:
        self.store, self.client = store, client
        self.waiting = self.add("waiting", not_before=store.clock() + 3600)
        self.published = self.add("published")
        assert store.take_due(queued=0).hints == [self.published]
        self.running = self.claim("running").id
        self.retry = self.claim("retry").id
        self.reschedule(self.retry)
        self.success = self.finish("success", "SUCCESS")
        self.failure = self.finish("failure", "FAILURE")
        self.revoked = self.add("revoked")
        store.cancel(self.revoked)
        # However slow the machine is, none of these is overdue.
        for place, jobs in (
            ("running", [self.running]),
            ("published", [self.published]),
            ("untold", [self.success, self.failure, self.revoked]),
        ):
            for job in jobs:
                self.put(place, job, store.clock() + 3600)

    def add(self, name: str, *, not_before: float = 0.0) -> str:
        wire = {"id": name, "name": name, "webhookURL": "https://a.example/", "enabled": True}
        new = NewJob(job_id("default", "app", name), not_before, "default", "app", wire, None, 2)
        self.store.add([new])
        return new.id

    def claim(self, name: str) -> JobRecord:
        record = self.store.claim(self.add(name), worker="w@h", token=name)
        assert record is not None
        return record

    def reschedule(self, job: str) -> None:
        self.store.reschedule(
            self.store.get(job),
            delay=100,
            error=ERROR,
            entry={"outcome": "x"},
            outcome_unknown=False,
            uses_attempt=True,
        )

    def finish(self, name: str, state: Any) -> str:
        record = self.claim(name)
        assert self.store.finish(record, state, result={"id": name}, error=ERROR, entry={"ms": 1})
        return record.id

    def key(self, job: str) -> str:
        return f"webhooks:job:{job}"

    def put(self, place: str, job: str, instant: float | None = None) -> None:
        self.client.zadd(f"webhooks:{place}", {job: instant or self.store.clock() + 60})

    def take(self, place: str, job: str) -> None:
        assert self.client.zrem(f"webhooks:{place}", job) == 1

    def ghost(self, job: str) -> None:
        """Delete the record alone."""
        assert self.client.delete(self.key(job)) == 1

    def places(self, job: str) -> list[str]:
        return [name for name in SETS[:4] if self.client.zscore(f"webhooks:{name}", job)]

    def dump(self) -> dict[str, Any]:
        """All that is in Redis, but for the time that records have left."""
        kept = {key: self.client.dump(key) for key in self.client.scan_iter("webhooks:*")}
        return {**kept, b"expiring": {key for key in kept if self.client.ttl(key) >= 0}}


@pytest.fixture(name="damaged")
def damaged_fixture(
    store: JobStore, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """No dispatcher runs; that is taken for granted after a moment."""
    monkeypatch.setattr("tasks.repair.DISPATCHER_SECONDS", 0.05)
    with redis.Redis.from_url(redis_server) as client:
        yield Damaged(store, client)


def found(repair: bool = False) -> list[tuple[str, str]]:
    return [(problem.job_id, problem.kind) for problem in find_problems(repair)]
