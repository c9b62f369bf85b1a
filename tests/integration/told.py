"""What there is to see of one webhook: at the API, in its job, in Celery's result and in Sentry."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult

from config.celery_app import app as celery_app
from tasks import Job, Webhook
from tests.conftest import SentrySink, eventually
from worker.sandbox import SandboxControl

URL = "https://shop.example.com/hook"


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def fault(app_id: str, kind: str, **rule: Any) -> dict[str, Any]:
    return {"app_id": app_id, "operation": "create", "kind": kind, **rule}


def at_the_api(sandbox: SandboxControl, app_id: str) -> list[dict[str, Any]]:
    return [kept for kept in sandbox.webhooks() if kept["app_id"] == app_id]


def calls(sandbox: SandboxControl, app_id: str, operation: str) -> int:
    log = sandbox.calls(limit=10_000)
    return sum(call["app_id"] == app_id and call["operation"] == operation for call in log)


def result_of(job: Job) -> AsyncResult:
    return AsyncResult(job.id, app=celery_app)


def assert_created_once(sandbox: SandboxControl, job: Job, app_id: str) -> None:
    [kept] = at_the_api(sandbox, app_id)
    assert (kept["name"], kept["webhookURL"], kept["created_by_calls"]) == ("Orders", URL, 1)
    assert job.state == "SUCCESS", job.error
    stored = result_of(job)
    assert stored.get(timeout=5) == job.result
    assert stored.state == "SUCCESS"


def assert_failed(job: Job, sentry: SentrySink, app_id: str, kind: str) -> dict[str, Any]:
    """The job failed for good as `kind`, and everybody was told so, once."""
    assert job.state == "FAILURE"
    assert job.error is not None
    assert job.error["class"] == kind
    stored = result_of(job)
    eventually(lambda: stored.state == "FAILURE")
    assert type(stored.result).__name__ == kind
    assert str(stored.result) == job.error["message"]
    [event] = eventually(lambda: sentry.of(app_id))
    assert event["tags"]["class"] == kind
    assert event["tags"]["job"] == job.id
    assert len(event["contexts"]["attempts"]["history"]) == len(job.history)
    return dict(job.error)
