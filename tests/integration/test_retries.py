"""The rows of the failure table that end well, through sandbox, worker and Redis: what is retried.

Each test looks at the API's side, at the job, at Celery's result backend and at Sentry.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks import enqueue_webhook
from tasks.gate import GateState
from tasks.store import get_store
from tests.conftest import SentrySink, eventually
from tests.integration.told import (
    URL,
    assert_created_once,
    at_the_api,
    calls,
    fault,
    orders,
    result_of,
)
from worker.sandbox import SandboxControl


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


@pytest.mark.parametrize(
    "style", ["retry-after", "retry-after-date", "x-ratelimit", "x-ratelimit-ms", "x-rate-limit"]
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
    other_app, third_app = f"{app_id}-other", f"{app_id}-third"
    sandbox.faults({"app_id": app_id, **rule}, {"app_id": other_app, **rule})

    job = enqueue_webhook(app_id, orders())
    eventually(lambda: job.refresh().state == "RETRY")

    assert job.error is not None
    assert job.error["class"] == "AccountRejected"
    assert job.attempts == 0
    assert "next_try_in" not in job.history[-1]  # the gate says when
    eventually(lambda: result_of(job).state == "RETRY")
    assert (gate().closed, gate().only_app) == ("rejected", app_id)

    other = enqueue_webhook(other_app, orders())
    eventually(lambda: other.refresh().state == "RETRY")

    # One app's may be its own trouble, unless it is about the key; that of two is everybody's.
    [event] = eventually(lambda: [*sentry.of(app_id), *sentry.of(other_app)])
    assert event["tags"]["account"] == ACCOUNT
    assert event["tags"]["app"] == (app_id if rule.get("status") == 401 else other_app)
    assert (gate().closed, gate().only_app) == ("rejected", None)
    third = enqueue_webhook(third_app, orders())
    sandbox.faults()
    assert (job.refresh().state, third.refresh().state) == ("RETRY", "PENDING")
    assert calls(sandbox, third_app, "create") == 0

    assert get_store().gate.resume(ACCOUNT) == "rejected"
    assert_created_once(sandbox, job.wait(10), app_id)
    assert_created_once(sandbox, other.wait(10), other_app)
    assert_created_once(sandbox, third.wait(10), third_app)
    assert len([*sentry.of(app_id), *sentry.of(other_app)]) == 1


def test_an_app_that_appears_seconds_later(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.remove_apps(app_id)
    job = enqueue_webhook(app_id, orders())
    sandbox.wait_for_calls(1, "create")
    sandbox.add_apps(app_id, after_seconds=0)
    job.wait(20)
    assert_created_once(sandbox, job, app_id)
    assert job.history[0]["outcome"] == "AppNotFound"
