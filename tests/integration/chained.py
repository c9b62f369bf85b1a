"""Jobs of one webhook, each to wait for the one before."""

from __future__ import annotations

import uuid
from typing import Any

from config.accounts import DEFAULT as ACCOUNT
from tasks.jobs import JobStore
from tasks.more import Action, More
from tasks.record import JobRecord, NewJob, job_id
from tests.integration.steps import ERROR

FIRST = job_id(ACCOUNT, "app", "orders")
WIRE = {"id": "orders", "name": "Orders", "webhookURL": "https://a.example/", "enabled": True}


def creation(**wire: Any) -> NewJob:
    return NewJob(FIRST, 0, ACCOUNT, "app", {**WIRE, **wire}, None, 2)


def change(
    action: Action = "update", *triggers: str, password: str | None = None, **wire: Any
) -> NewJob:
    fields = {"id": "orders", **wire}
    more = More(action=action, triggers=triggers)
    its_id = str(uuid.uuid4())
    marks = (f"key.{password}",) if password else ()
    return NewJob(its_id, 0, ACCOUNT, "app", fields, password, 2, more, chain=FIRST, marks=marks)


def add(store: JobStore, new: NewJob, place: str | None = None) -> JobRecord:
    [[added], _] = store.add([new])
    assert place in {None, added.place}
    return added.record


def begin(store: JobStore, job: JobRecord) -> JobRecord:
    record = store.claim(job.id, worker="w", token=uuid.uuid4().hex)
    assert record is not None
    return record


def is_held(store: JobStore, job: JobRecord) -> bool:
    """Whether it cannot be claimed although its time has come."""
    store._redis.zadd("webhooks:waiting", {job.id: 1}, xx=True)
    return store.claim(job.id, worker="w", token="t") is None


def end(store: JobStore, job: JobRecord, state: Any = "SUCCESS") -> None:
    error = ERROR if state == "FAILURE" else None
    assert store.finish(begin(store, job), state, result={"id": "orders"}, error=error)
