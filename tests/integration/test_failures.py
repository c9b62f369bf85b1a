"""The rows of the failure table that fail for good, through sandbox, worker and Redis.

Each test looks at the API's side, at the job, at Celery's result backend and at Sentry.
"""

from __future__ import annotations

import pytest

from tasks import enqueue_webhook, get_job
from tests import faulty
from tests.conftest import SentrySink, eventually
from tests.integration.told import (
    URL,
    assert_created_once,
    assert_failed,
    at_the_api,
    calls,
    fault,
    orders,
)
from worker.sandbox import SandboxControl


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
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    job = enqueue_webhook(app_id, orders(name=faulty.NAME)).wait(20)
    assert job.error is not None
    assert job.error["class"] == "WorkerCrashed"
    events = eventually(lambda: [e for e in sentry.of(app_id) if "class" in e["tags"]])
    assert len(events) == 1
    bugs = [event for event in sentry.of(app_id) if "class" not in event["tags"]]
    assert bugs[0]["exception"]["values"][-1]["type"] == "Fault"
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
