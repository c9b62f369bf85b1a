"""What becomes of a webhook that is there already: accepted, updated, or a failure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tasks import InvalidInput, Job, JobConflict, Webhook, enqueue_webhook
from tasks.store import get_store
from tests.conftest import SentrySink
from worker.sandbox import SandboxControl

URL = "https://shop.example.com/hook"
OTHER_URL = "https://other.example.com/"
PASSWORD = "Geheim123"


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def at_the_api(sandbox: SandboxControl, app_id: str) -> dict[str, Any]:
    [kept] = [kept for kept in sandbox.webhooks() if kept["app_id"] == app_id]
    return kept


def calls(sandbox: SandboxControl, app_id: str) -> list[str]:
    return [c["operation"] for c in sandbox.calls(limit=10_000) if c["app_id"] == app_id]


def error_of(job: Job) -> dict[str, Any]:
    assert job.error is not None
    return dict(job.error)


#: Ways to refuse what is there already; the last is one that nobody has heard of.
TOLD: dict[str, dict[str, Any]] = {
    "400": {"status": 400, "code": "ERR_BAD_REQUEST"},
    "409": {"status": 409, "code": "ERR_WEBHOOK_ALREADY_EXISTS"},
    "403": {"status": 403, "code": "ERR_WEBHOOK_ALREADY_EXISTS"},
    "403 of no code": {"status": 403, "code": None},
    "403 of no known code": {"status": 403, "code": "ERR_FORBIDDEN"},
    "417": {"status": 417, "code": "ERR_WEBHOOK_ID_ALREADY_EXISTS"},
    "417 of no code": {"status": 417, "code": None},
    "500": {"status": 500, "code": "ERR_WEBHOOK_ALREADY_EXISTS"},
    "422": {"status": 422, "code": "ERR_BAD_REQUEST"},
    "400 of no known text": {"status": 400, "code": None, "message": "Computer says no."},
    "400 of no JSON": {"status": 400, "body": "<h1>Bad</h1>"},
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
@pytest.mark.parametrize(
    ("on_existing", "there", "end"),
    [
        ("accept", URL, "existed"),
        ("accept", OTHER_URL, "WebhookConflict"),
        ("update", URL, "existed"),
        ("update", OTHER_URL, "updated"),
        ("fail", URL, "WebhookConflict"),
        ("fail", OTHER_URL, "WebhookConflict"),
    ],
)
def test_the_table(
    sandbox: SandboxControl,
    app_id: str,
    told: dict[str, Any],
    on_existing: Any,
    there: str,
    end: str,
) -> None:
    sandbox.put_webhook(app_id, "orders", name="Orders", url=there)
    sandbox.faults({"app_id": app_id, "operation": "create", "kind": "status", **told})
    job = enqueue_webhook(app_id, orders(), on_existing=on_existing).wait(10)
    assert ((job.result or {}).get("outcome") or error_of(job)["class"]) == end
    assert job.attempts == 1
    assert at_the_api(sandbox, app_id)["webhookURL"] == (URL if end == "updated" else there)
    assert calls(sandbox, app_id) == ["create", "get", *(["update"] if end == "updated" else [])]


@pytest.mark.parametrize("on_existing", ["accept", "update", "fail"])
def test_what_is_not_there_is_created(
    sandbox: SandboxControl, app_id: str, on_existing: Any
) -> None:
    job = enqueue_webhook(app_id, orders(), on_existing=on_existing).wait(10)
    assert job.effect == "created"
    assert calls(sandbox, app_id) == ["create"]


@pytest.mark.parametrize("on_existing", ["accept", "update", "fail"])
def test_what_an_earlier_call_of_this_job_made_is_a_success(
    sandbox: SandboxControl, app_id: str, on_existing: Any
) -> None:
    sandbox.faults(
        {"app_id": app_id, "operation": "create", "kind": "cut", "when": "after", "times": 1}
    )
    job = enqueue_webhook(app_id, orders(), on_existing=on_existing).wait(10)
    assert (job.state, job.effect) == ("SUCCESS", "existed")
    assert at_the_api(sandbox, app_id)["created_by_calls"] == 1


def test_a_call_that_was_not_processed_made_nothing(sandbox: SandboxControl, app_id: str) -> None:
    """So what is there in the next attempt is somebody else's."""
    limit = {"app_id": app_id, "operation": "create", "kind": "rate_limit", "seconds": 1}
    sandbox.faults({**limit, "times": 1})
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
    job = enqueue_webhook(app_id, orders(), on_existing="fail").wait(10)
    assert error_of(job)["class"] == "WebhookConflict"
    assert "already, and not from this job" in error_of(job)["message"]


class TestUpdate:
    def test_sends_all_that_is_asked_for_and_no_other_field(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        was = {"retryOnFailure": True, "enabled": False}
        sandbox.put_webhook(app_id, "orders", name="Invoices", url=URL, **was)
        job = enqueue_webhook(app_id, orders(), on_existing="update").wait(10)
        assert job.effect == "updated"
        assert job.result is not None
        assert job.result["changed"] == ["name", "webhookURL", "enabled"]
        assert job.result["name"] == "Orders"
        kept = at_the_api(sandbox, app_id)
        assert (kept["name"], kept["enabled"], kept["retryOnFailure"]) == ("Orders", True, True)

    def test_sends_credentials_always_as_nobody_can_read_them(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        basic = {"useBasicAuth": True, "username": "chat", "password": "Other1"}
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL, **basic)
        webhook = orders(username="chat", password=PASSWORD)
        job = enqueue_webhook(app_id, webhook, on_existing="update").wait(10)
        assert job.result is not None
        every = ["name", "webhookURL", "enabled", "useBasicAuth", "username", "password"]
        assert job.result["changed"] == every
        expected = hashlib.sha256(PASSWORD.encode()).hexdigest()
        assert at_the_api(sandbox, app_id)["password_sha256"] == expected
        assert PASSWORD not in json.dumps([job.as_json(), job.record.mark])

    @pytest.mark.parametrize(
        "rule",
        [
            {"kind": "cut"},
            {"kind": "cut", "when": "after"},
            {"kind": "status", "status": 500, "when": "after"},
            {"kind": "status", "status": 404, "code": "ERR_WEBHOOK_NOT_FOUND"},
            {"kind": "status", "status": 200, "body": '{"data": {"id": "orders", "name": "Old"}}'},
        ],
        ids=lambda rule: "-".join(str(value) for value in rule.values())[:30],
    )
    def test_that_fails_is_repeated(
        self, sandbox: SandboxControl, app_id: str, rule: dict[str, Any]
    ) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=OTHER_URL)
        sandbox.faults({"app_id": app_id, "operation": "update", "times": 1, **rule})
        job = enqueue_webhook(app_id, orders(), on_existing="update").wait(10)
        assert job.state == "SUCCESS"
        assert at_the_api(sandbox, app_id)["webhookURL"] == URL
        assert at_the_api(sandbox, app_id)["created_by_calls"] == 0

    def test_that_is_refused_is_a_failure_that_changed_nothing(
        self, sandbox: SandboxControl, sentry: SentrySink, app_id: str
    ) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=OTHER_URL)
        refusal = {"status": 422, "code": "ERR_BAD_REQUEST", "message": "No such host."}
        sandbox.faults({"app_id": app_id, "operation": "update", "kind": "status", **refusal})
        job = enqueue_webhook(app_id, orders(), on_existing="update").wait(10)
        assert error_of(job)["class"] == "WebhookRejected"
        assert "No such host." in error_of(job)["message"]
        assert job.effect == "none"

    def test_adds_the_triggers_that_are_missing(self, sandbox: SandboxControl, app_id: str) -> None:
        there = ["group_created"]
        sandbox.put_webhook(app_id, "orders", name="Orders", url=OTHER_URL, triggers=there)
        webhook = orders(triggers=["message_sent"])
        job = enqueue_webhook(app_id, webhook, on_existing="update").wait(10)
        assert job.result is not None
        assert job.result["triggers"] == ["group_created", "message_sent"]
        assert calls(sandbox, app_id)[-3:] == ["update", "list_triggers", "add_triggers"]


def test_the_same_webhook_with_another_way_is_a_conflict(
    sandbox: SandboxControl, app_id: str
) -> None:
    later = get_store().clock() + 60
    enqueue_webhook(app_id, orders(), not_before=later)
    with pytest.raises(JobConflict, match="another on_existing") as conflict:
        enqueue_webhook(app_id, orders(), on_existing="update")
    assert conflict.value.fields == ("on_existing",)


def test_another_word_is_refused(sandbox: SandboxControl, app_id: str) -> None:
    with pytest.raises(InvalidInput, match="on_existing: must be one of: accept, update, fail"):
        enqueue_webhook(app_id, orders(), on_existing="replace")  # type: ignore[arg-type]
