"""A job taken through the atomic steps one by one, and where it is then."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tasks.jobs import JobStore
from tasks.more import More
from tasks.record import JobRecord, NewJob, job_id

PLACES = ("waiting", "published", "running")
ERROR = {"class": "ApiUnavailable", "code": None, "status": 503, "message": "down"}


@pytest.fixture(name="client")
def client_fixture(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def new_job(
    name: str = "orders", *, app: str = "app", not_before: float = 0, **more: Any
) -> NewJob:
    wire = {"id": name, "name": name, "webhookURL": "https://a.example/", "enabled": True}
    its_id = job_id("default", app, name)
    return NewJob(its_id, not_before, "default", app, wire, None, 2, More(**more))


def added(store: JobStore, *jobs: NewJob) -> list[str]:
    return [one.place for one in store.add(jobs)[0]]


def add(store: JobStore, name: str = "orders", **options: Any) -> str:
    job = new_job(name, **options)
    store.add([job])
    return job.id


def hint(store: JobStore, *names: str) -> list[str]:
    """New jobs that a dispatcher has put into the pipe."""
    jobs = [add(store, name) for name in names]
    assert store.take_due(queued=0).hints == jobs
    return jobs


def claim(store: JobStore, job: str, worker: str = "w1", token: str = "t1") -> JobRecord:
    record = store.claim(job, worker=worker, token=token)
    assert record is not None
    return record


def places(client: redis.Redis, job: str) -> list[str]:
    return [place for place in (*PLACES, "failed") if client.zscore(f"webhooks:{place}", job)]


def expire(client: redis.Redis, place: str, job: str) -> None:
    """Let the time of a set's entry have come."""
    client.zadd(f"webhooks:{place}", {job: 1})


def reschedule(store: JobStore, record: JobRecord, **changes: Any) -> str | None:
    options = {"delay": 0.0, "outcome_unknown": False, "uses_attempt": True, **changes}
    entry = {"attempt": record.attempt}
    followed = store.reschedule(record, error=ERROR, entry=entry, **options)
    return followed.state if followed else None
