"""An app that is new, and what a plan does not allow."""

from __future__ import annotations

from typing import Any

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks import Webhook, enqueue_webhook, get_job
from tasks.actions import retry_job
from tasks.schedule import retry_failed
from tasks.store import get_store
from tests.conftest import FAST, SentrySink, eventually
from worker.sandbox import SandboxControl

URL = "https://shop.example.com/hook"
#: Both are documented for an app id that is not known, and neither says which one create answers.
UNKNOWN_APP: dict[str, dict[str, Any]] = {
    "404": {"status": 404, "code": "ERR_APP_NOT_FOUND"},
    "401": {"status": 401, "code": "AUTH_ERR_INVALID_APPID"},
}
#: What the API may say to the 26th webhook, or of a plan.
LIMITS: dict[str, dict[str, Any]] = {
    "restriction": {"status": 403, "code": "ERR_PLAN_RESTRICTION"},
    "quota": {"status": 400, "code": "ERR_PLAN_QUOTA_RESTRICTION"},
    "of no known code": {
        "status": 400,
        "code": "ERR_BAD_REQUEST",
        "message": "An app can have at most 25 webhooks.",
    },
}


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def calls(sandbox: SandboxControl, app_id: str) -> list[dict[str, Any]]:
    return [call for call in sandbox.calls(limit=10_000) if call["app_id"] == app_id]


@pytest.mark.parametrize("told", UNKNOWN_APP.values(), ids=UNKNOWN_APP)
class TestAnAppThatIsNotKnown:
    def test_is_tried_for_its_time_and_then_fails(
        self, sandbox: SandboxControl, sentry: SentrySink, app_id: str, told: dict[str, Any]
    ) -> None:
        sandbox.faults({"app_id": app_id, "kind": "status", **told})
        job = enqueue_webhook(app_id, orders()).wait(20)
        assert job.error is not None
        assert (job.state, job.error["class"]) == ("FAILURE", "AppNotFound")
        assert repr(app_id) in job.error["message"]
        assert job.error["code"] == told["code"]
        tried = [call["time"] for call in calls(sandbox, app_id)]
        patience = float(FAST["APP_NOT_FOUND_SECONDS"])
        assert len(tried) >= 2
        assert patience - 0.2 < tried[-1] - tried[0] < patience + 2
        [event] = eventually(lambda: sentry.of(app_id))
        assert event["tags"]["class"] == "AppNotFound"

    def test_that_becomes_known_gets_its_webhook(
        self, sandbox: SandboxControl, app_id: str, told: dict[str, Any]
    ) -> None:
        sandbox.faults({"app_id": app_id, "kind": "status", "times": 1, **told})
        job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(20)
        assert (job.state, job.effect) == ("SUCCESS", "created")
        assert [entry["outcome"] for entry in job.history] == ["AppNotFound", "created"]


def test_an_app_that_is_made_after_its_webhook_was_asked_for(
    sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.remove_apps(app_id)
    sandbox.add_apps(app_id, after_seconds=0.6)
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert job.state == "SUCCESS"
    assert {entry["outcome"] for entry in job.history} == {"AppNotFound", "created"}


def assert_is_for_a_person(
    sandbox: SandboxControl,
    job_id: str,
    app_id: str,
    error: Any,
    advice: str = "Raise or renew the plan, or delete a webhook of the app",
) -> None:
    """It says what to do, it is not tried again by itself, and it is when a person asks."""
    assert error["class"] == "PlanLimit"
    assert "'orders'" in error["message"] and repr(app_id) in error["message"]
    assert advice in error["message"]
    creates = [call for call in calls(sandbox, app_id) if call["operation"] == "create"]
    assert len(creates) == 1
    retry_failed()
    assert get_job(job_id).state == "FAILURE"
    assert retry_job(job_id).state != "FAILURE"


@pytest.mark.parametrize("told", LIMITS.values(), ids=LIMITS)
def test_a_limit_is_told_once_and_waits_for_a_person(
    sandbox: SandboxControl, app_id: str, told: dict[str, Any]
) -> None:
    rule = {"app_id": app_id, "operation": "create", "kind": "status", "times": 1}
    sandbox.faults({**rule, **told})
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert (job.state, job.attempts) == ("FAILURE", 1)
    assert_is_for_a_person(sandbox, job.id, app_id, job.error)
    assert job.wait(10).state == "SUCCESS"


def test_the_26th_webhook_fits_once_another_is_gone(sandbox: SandboxControl, app_id: str) -> None:
    for number in range(25):
        sandbox.put_webhook(app_id, f"w{number}", name="w", url=URL)
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert (job.state, job.attempts) == ("FAILURE", 1)
    sandbox.delete_webhook(app_id, "w7")
    assert_is_for_a_person(sandbox, job.id, app_id, job.error)
    assert job.wait(10).state == "SUCCESS"


def test_a_limit_of_triggers_leaves_the_webhook(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.settings(plan_triggers=["message_sent"])
    job = enqueue_webhook(app_id, orders(triggers=["recording_generated"])).wait(10)
    assert job.error is not None
    assert (job.error["class"], job.effect) == ("PlanLimit", "created")
    assert "is there, its triggers may not be" in job.error["message"]
    assert "plan does not allow these triggers of webhook 'orders'" in job.error["message"]
    assert "delete a webhook" not in job.error["message"]
    sandbox.settings(plan_triggers=None)
    advice = "Raise the plan, then retry the job, or forget it and ask for triggers"
    assert_is_for_a_person(sandbox, job.id, app_id, job.error, advice)
    assert job.wait(10).state == "SUCCESS"


def test_an_expired_subscription_is_the_accounts_trouble_and_waits(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    told = {"kind": "status", "status": 402, "code": "ERR_SUBSCRIPTION_EXPIRED"}
    sandbox.faults({"app_id": app_id, **told})
    job = enqueue_webhook(app_id, orders())
    eventually(lambda: job.refresh().state == "RETRY")
    assert get_store().gate.look(ACCOUNT).closed == "rejected"
    assert job.error is not None
    assert job.error["class"] == "AccountRejected"
    assert "Renew the subscription at CometChat" in job.error["message"]
    assert "COMETCHAT_KEY" not in job.error["message"]
    sandbox.faults()
    get_store().gate.resume(ACCOUNT)
    assert job.wait(10).state == "SUCCESS"
    assert job.attempts == 1
