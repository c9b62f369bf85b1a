"""What `worker.celery_internals` leans on: these fail when a new Celery changes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer

from config.celery_app import app
from worker.celery_internals import RECONNECT_MOST, QuickConsumer, received_ids


def test_the_workers_requests_have_the_ids_of_their_tasks() -> None:
    class Request:
        id = "some-job"

    request = Request()
    state.reserved_requests.add(request)
    try:
        assert received_ids() == ["some-job"]
    finally:
        state.reserved_requests.discard(request)
    assert received_ids() == []


def test_the_consumer_connects_through_ensure_connection(monkeypatch: Any) -> None:
    seen: dict[str, Any] = {}

    class Connection:
        def ensure_connection(self, *args: Any, **options: Any) -> Any:
            seen.update(options)
            return self

    consumer = SimpleNamespace(
        app=app,
        first_connection_attempt=True,
        broker_connection_retry_attempt=0,
        ensure_connected=None,
    )
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    quick = QuickConsumer()
    quick.__dict__.update(vars(consumer))
    del quick.__dict__["ensure_connected"]
    quick.ensure_connected(Connection())
    assert seen["interval_max"] == RECONNECT_MOST
    assert app.conf.worker_consumer == "worker.celery_internals:QuickConsumer"
