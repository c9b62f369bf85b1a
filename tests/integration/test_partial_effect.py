"""An attempt that changed the webhook and did not come to its end: no job says "none" of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import Job, Webhook, enqueue_webhook, set_triggers
from tasks.actions import cancel_job
from tasks.store import get_store
from tests.integration.attempts import URL, api_fixture, attempt, triggers
from worker.sandbox import SandboxControl

api = api_fixture

#: Ways in which the second call of an attempt that changes something is known to have none.
REFUSED: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "code": "ERR_TOO_MANY_REQUESTS"},
    "401": {"kind": "status", "status": 401, "code": "AUTH_ERR_NO_ACCESS"},
    "plan": {"kind": "status", "status": 403, "code": "ERR_PLAN_RESTRICTION"},
    "app": {"kind": "status", "status": 404, "code": "ERR_APP_NOT_FOUND"},
}


def half_set(api: SandboxControl, app_id: str, **options: Any) -> Job:
    """One trigger is to be added, and another removed."""
    api.put_webhook(app_id, "orders", name="Orders", url=URL, triggers=["group_created"])
    return set_triggers(app_id, "orders", ["message_sent"], **options)


def half_created(_: SandboxControl, app_id: str, **options: Any) -> Job:
    """A webhook is to be created, and a trigger to be added."""
    webhook = Webhook(id="orders", name="Orders", webhookURL=URL, triggers=["message_sent"])
    return enqueue_webhook(app_id, webhook, **options)


#: What is begun, and the operation of the second call that changes something.
BEGUN = {"set_triggers": (half_set, "remove_triggers"), "create": (half_created, "add_triggers")}

Begin = Callable[..., Job]


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize(("begin", "second"), BEGUN.values(), ids=BEGUN)
def test_whatever_the_second_call_is_told(
    api: SandboxControl, app_id: str, begin: Begin, second: str, refusal: dict[str, Any]
) -> None:
    job = begin(api, app_id)
    api.faults({"app_id": app_id, "operation": second, **refusal})

    attempt(job)
    if job.refresh().state == "RETRY":
        cancel_job(job.id)

    assert len(api.webhooks()) == 1
    assert job.refresh().state in {"REVOKED", "FAILURE"}
    assert job.effect != "none"


def test_a_person_who_closes_the_gate_between_the_two_calls(
    api: SandboxControl, app_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = half_set(api, app_id)
    gate = get_store().gate

    def paused(self: Any, headers: Any) -> None:
        if "message_sent" in triggers(api, app_id):
            gate.pause("default", reason="maintenance")

    monkeypatch.setattr("tasks.turn.Turn.after_call", paused)
    attempt(job)
    assert cancel_job(job.id).state == "REVOKED"
    assert job.refresh().effect == "unknown"


def test_time_that_is_over_between_the_two_calls(
    api: SandboxControl, app_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = half_set(api, app_id, expires_in=60)

    def late(self: Any, headers: Any) -> None:
        if "message_sent" in triggers(api, app_id):
            clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
            monkeypatch.setattr("tasks.deadline.time", clock)

    monkeypatch.setattr("tasks.turn.Turn.after_call", late)
    attempt(job)
    assert triggers(api, app_id) == {"group_created", "message_sent"}
    assert (job.refresh().state, job.effect) == ("FAILURE", "unknown")
    message = (job.error or {})["message"]
    assert "No call was made" not in message
    assert "An earlier call" in message


def test_a_success_after_it_is_what_counts(api: SandboxControl, app_id: str) -> None:
    job = half_set(api, app_id)
    api.faults({"app_id": app_id, "operation": "remove_triggers", **REFUSED["429"], "times": 1})
    attempt(job)
    get_store()._redis.zadd("webhooks:waiting", {job.id: 1})
    get_store()._redis.delete("webhooks:gate:default")
    attempt(job)
    assert (job.refresh().state, job.effect) == ("SUCCESS", "updated")
    assert triggers(api, app_id) == {"message_sent"}


@pytest.mark.parametrize("operation", ["list_triggers", "add_triggers"])
def test_none_is_none_still(api: SandboxControl, app_id: str, operation: str) -> None:
    job = half_set(api, app_id)
    api.faults({"app_id": app_id, "operation": operation, **REFUSED["429"]})
    attempt(job)
    cancel_job(job.id)
    assert job.refresh().effect == "none"
