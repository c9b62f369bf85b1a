"""Every row of the failure table, through sandbox, worker and Redis.

Each test looks at the API's side, at the job, at Celery's result backend and at Sentry.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from celery.result import AsyncResult

from config.accounts import DEFAULT as ACCOUNT
from config.celery_app import app as celery_app
from tasks import Job, Webhook, enqueue_webhook, get_job
from tasks.gate import GateState
from tasks.store import get_store
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


def test_the_plain_case(sandbox: SandboxControl, sentry: SentrySink, app_id: str) -> None:
    webhook = orders(username="chat", password="Geheim123", retryOnFailure=True)
    job = enqueue_webhook(app_id, webhook).wait(10)
    assert_created_once(sandbox, job, app_id)
    [kept] = at_the_api(sandbox, app_id)
    assert kept["useBasicAuth"] and kept["retryOnFailure"] and kept["enabled"]
    assert kept["password_sha256"] == hashlib.sha256(b"Geheim123").hexdigest()
    assert job.result is not None
    assert job.result["outcome"] == "created"
    assert job.attempts == 1
    assert calls(sandbox, app_id, "create") == 1
    assert calls(sandbox, app_id, "get") == 0
    assert sentry.of(app_id) == []


def test_legacy_and_version_2_do_not_see_each_other(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL, version=2)
    job = enqueue_webhook(app_id, orders(), webhook_version=None).wait(10)
    assert job.result is not None
    assert job.result["outcome"] == "created"
    assert {kept["version"] for kept in at_the_api(sandbox, app_id)} == {2, "legacy"}


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 502, "when": "after"},
        {"kind": "status", "status": 503, "code": "ERR_EXCEPTION", "when": "after"},
        {"kind": "status", "status": 400, "code": "ERR_MISSION_FAILED"},
        {"kind": "status", "status": 400, "code": "ERR_OPERATION_FAILED", "when": "after"},
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 425},
        {"kind": "html", "status": 502},
        {"kind": "cut"},
        {"kind": "cut", "when": "after"},
        {"kind": "garbage", "when": "after"},
        {"kind": "empty", "when": "after"},
        {"kind": "truncated", "when": "after"},
        {"kind": "huge", "bytes": 3_000_000, "when": "after"},
        {"kind": "drip", "seconds_per_byte": 0.5, "when": "after"},
        {"kind": "latency", "seconds": 4, "when": "after"},
    ],
    ids=lambda rule: "-".join(str(value) for value in rule.values()),
)
def test_unavailable_then_created_once(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, rule: dict[str, Any]
) -> None:
    sandbox.faults({"app_id": app_id, "operation": "create", "times": 1, **rule})
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert_created_once(sandbox, job, app_id)
    assert job.attempts == 2
    assert job.history[0]["outcome"] == "ApiUnavailable"
    # The outcome of the first call was unknown, so the webhook was read back before posting again.
    assert calls(sandbox, app_id, "get") == 1
    assert calls(sandbox, app_id, "create") == (1 if rule.get("when") == "after" else 2)
    assert sentry.of(app_id) == []


def test_unavailable_until_attempts_and_time_are_spent(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    sandbox.faults(fault(app_id, "status", status=503, code="ERR_EXCEPTION"))
    job = enqueue_webhook(app_id, orders()).wait(20)
    error = assert_failed(job, sentry, app_id, "ApiUnavailable")
    assert (error["status"], error["code"]) == (503, "ERR_EXCEPTION")
    assert job.attempts >= 4
    assert [entry["outcome"] for entry in job.history] == ["ApiUnavailable"] * len(job.history)
    assert at_the_api(sandbox, app_id) == []


@pytest.mark.parametrize(
    "style", ["retry-after", "retry-after-date", "x-ratelimit", "x-rate-limit"]
)
def test_rate_limited_waits_as_told_and_uses_up_no_attempt(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, style: str
) -> None:
    sandbox.faults(fault(app_id, "rate_limit", times=1, headers_style=style, seconds=2))
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert_created_once(sandbox, job, app_id)
    assert job.attempts == 1
    first, second = job.history
    assert first["outcome"] == "RateLimited"
    assert second["at"] - first["at"] > 0.9  # dates and reset times have whole seconds
    assert sentry.of(app_id) == []


def gate() -> GateState:
    return get_store().gate.look(ACCOUNT)


def test_rate_limited_without_a_time_waits_longer_each_time(
    sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults(fault(app_id, "rate_limit", headers_style="none"))
    job = enqueue_webhook(app_id, orders())
    eventually(lambda: len(job.refresh().history) == 3)
    first, second, third = job.history
    assert {entry["outcome"] for entry in job.history} == {"RateLimited"}
    assert 0.5 < second["at"] - first["at"] < third["at"] - second["at"]
    assert job.attempts == 0
    assert (allowed := gate().allowed) and allowed < 0.5
    eventually(lambda: result_of(job).state == "RETRY")


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "status", "status": 401, "code": "AUTH_ERR_INVALID_SECRET_KEY"},
        {"kind": "status", "status": 403, "code": "AUTH_ERR_NO_ACCESS"},
        {"kind": "status", "status": 404, "body": "<h1>not found</h1>"},
        {"kind": "redirect", "location": "http://127.0.0.1:9/"},
    ],
    ids=["401", "403", "404-without-code", "redirect"],
)
def test_account_rejected_closes_the_gate_and_uses_up_no_attempt(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, rule: dict[str, Any]
) -> None:
    sandbox.faults({"app_id": app_id, **rule})
    job = enqueue_webhook(app_id, orders())
    eventually(lambda: job.refresh().state == "RETRY")
    assert job.error is not None
    assert job.error["class"] == "AccountRejected"
    assert job.attempts == 0
    assert "next_try_in" not in job.history[-1]  # the gate says when
    eventually(lambda: result_of(job).state == "RETRY")
    assert gate().closed == "rejected"
    [event] = eventually(lambda: sentry.of(app_id))
    assert event["tags"]["account"] == ACCOUNT
    # Others wait, too, and none is tried.
    other_app = f"{app_id}-other"
    other = enqueue_webhook(other_app, orders())
    sandbox.faults()
    assert (job.refresh().state, other.refresh().state) == ("RETRY", "PENDING")
    assert calls(sandbox, other_app, "create") == 0
    assert get_store().gate.resume(ACCOUNT) == "rejected"
    assert_created_once(sandbox, job.wait(10), app_id)
    assert_created_once(sandbox, other.wait(10), other_app)
    assert len(sentry.of(app_id)) == 1


def test_an_app_that_appears_seconds_later(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.remove_apps(app_id)
    job = enqueue_webhook(app_id, orders())
    sandbox.wait_for_calls(1, "create")
    sandbox.add_apps(app_id, after_seconds=0)
    job.wait(20)
    assert_created_once(sandbox, job, app_id)
    assert job.history[0]["outcome"] == "AppNotFound"


def test_an_app_that_never_appears(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    sandbox.remove_apps(app_id)
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert_failed(job, sentry, app_id, "AppNotFound")
    assert job.history[-1]["at"] - job.history[0]["at"] > 0.5


@pytest.mark.parametrize("status", [400, 409, 422])
def test_rejected_is_read_back_and_fails_at_once(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, status: int
) -> None:
    sandbox.faults(fault(app_id, "status", status=status, code="ERR_BAD_REQUEST", message="No."))
    job = enqueue_webhook(app_id, orders()).wait(10)
    error = assert_failed(job, sentry, app_id, "WebhookRejected")
    assert (error["status"], error["code"]) == (status, "ERR_BAD_REQUEST")
    assert "No." in error["message"]
    assert job.attempts == 1
    assert calls(sandbox, app_id, "get") == 1


@pytest.mark.parametrize("duplicate", [400, 409, 422])
def test_there_already_as_asked_is_a_success(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, duplicate: int
) -> None:
    sandbox.settings(duplicate=duplicate)
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert job.state == "SUCCESS"
    assert job.result is not None
    assert job.result["outcome"] == "existed"
    assert sentry.of(app_id) == []


def test_conflict_leaves_the_other_webhook_as_it_is(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    sandbox.put_webhook(app_id, "orders", name="Orders", url="https://other.example.com/")
    job = enqueue_webhook(app_id, orders()).wait(10)
    error = assert_failed(job, sentry, app_id, "WebhookConflict")
    assert "another webhookURL" in error["message"]
    [kept] = at_the_api(sandbox, app_id)
    assert kept["webhookURL"] == "https://other.example.com/"


def test_the_26th_webhook(sandbox: SandboxControl, sentry: SentrySink, app_id: str) -> None:
    for number in range(25):
        sandbox.put_webhook(app_id, f"w{number}", name="w", url=URL)
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert_failed(job, sentry, app_id, "PlanLimit")
    assert job.attempts == 1


def test_a_fault_of_the_program_is_told_and_retried(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str, stack: Any
) -> None:
    import redis

    # A record that no version of this program writes.
    job = enqueue_webhook(app_id, orders(), not_before=get_clock() + 1)
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        client.hset(f"webhooks:job:{job.id}", "webhook", '{"id": "orders", "name": 7}')
    job.wait(20)
    assert job.error is not None
    assert job.error["class"] == "WorkerCrashed"
    events = eventually(lambda: [e for e in sentry.of(app_id) if "class" in e["tags"]])
    assert len(events) == 1
    bugs = [event for event in sentry.of(app_id) if "class" not in event["tags"]]
    assert bugs[0]["exception"]["values"][-1]["type"] == "InvalidInput"
    assert at_the_api(sandbox, app_id) == []


def test_the_same_failure_is_told_once_however_often_it_is_met(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    from tasks.schedule import retry_failed

    sandbox.faults(fault(app_id, "status", status=503))
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert_failed(job, sentry, app_id, "ApiUnavailable")
    attempts = job.attempts
    retry_failed()
    eventually(lambda: job.refresh().attempts == attempts + 1 and job.state == "FAILURE")
    sandbox.faults()
    retry_failed()
    again = get_job(job.id).wait(10)
    assert again.state == "SUCCESS", again.history[-3:]
    assert_created_once(sandbox, again, app_id)
    assert len(sentry.of(app_id)) == 1


def get_clock() -> float:
    return get_store().clock()
