"""A webhook with its triggers: whole in the end, whatever happens between the calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks import InvalidInput, Job, JobConflict, Webhook, enqueue_webhook, enqueue_webhooks
from tasks.actions import retry_job
from tasks.store import get_store
from tests.conftest import FAST, SentrySink, eventually, own_stack
from worker.sandbox import RunningSandbox, SandboxControl
from worker.stack import Part, Stack

URL = "https://shop.example.com/hook"
ASKED = ("message_sent", "user_blocked")


def orders(*triggers: str, **fields: Any) -> Webhook:
    values = {"id": "orders", "name": "Orders", "webhookURL": URL, "triggers": triggers or ASKED}
    return Webhook(**{**values, **fields})


def at_the_api(sandbox: SandboxControl, app_id: str) -> dict[str, Any]:
    [kept] = [kept for kept in sandbox.webhooks() if kept["app_id"] == app_id]
    return kept


def calls(sandbox: SandboxControl, app_id: str) -> list[str]:
    return [c["operation"] for c in sandbox.calls(limit=10_000) if c["app_id"] == app_id]


def assert_whole(sandbox: SandboxControl, job: Job, app_id: str, created: int = 1) -> None:
    assert job.state == "SUCCESS", job.error
    kept = at_the_api(sandbox, app_id)
    assert set(kept["triggers"]) >= set(ASKED)
    assert kept["created_by_calls"] == created
    assert job.result is not None
    assert set(job.result["triggers"]) == set(kept["triggers"])


def test_triggers_are_added_to_what_was_created(sandbox: SandboxControl, app_id: str) -> None:
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert_whole(sandbox, job, app_id)
    assert job.effect == "created"
    assert calls(sandbox, app_id) == ["create", "add_triggers"]
    assert job.attempts == 1


@pytest.mark.parametrize("version", [2, None])
def test_each_version_has_its_own(
    sandbox: SandboxControl, app_id: str, version: int | None
) -> None:
    name = "message_sent" if version == 2 else "after_message"
    job = enqueue_webhook(app_id, orders(name), webhook_version=version).wait(10)
    assert job.result and job.result["triggers"] == [name]
    kept = at_the_api(sandbox, app_id)
    assert (kept["version"], kept["triggers"]) == (version or "legacy", [name])


def test_only_what_is_missing_is_added_and_what_else_there_is_stays(
    sandbox: SandboxControl, app_id: str
) -> None:
    there = ["group_created", "message_sent"]
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL, triggers=there)
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert_whole(sandbox, job, app_id, created=0)
    assert job.result and job.result["triggers"] == [*there, "user_blocked"]
    assert job.effect == "existed"
    assert calls(sandbox, app_id) == ["create", "get", "list_triggers", "add_triggers"]


def test_nothing_is_added_where_nothing_is_missing(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL, triggers=ASKED[::-1])
    job = enqueue_webhook(app_id, orders()).wait(10)
    assert_whole(sandbox, job, app_id, created=0)
    assert calls(sandbox, app_id) == ["create", "get", "list_triggers"]


@pytest.mark.parametrize("on_existing", ["accept", "update", "fail"])
@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "cut"},
        {"kind": "cut", "when": "after"},
        {"kind": "status", "status": 503, "when": "after"},
        {"kind": "garbage", "when": "after"},
        {"kind": "rate_limit", "seconds": 1},
        {"kind": "status", "status": 404, "code": "ERR_APP_NOT_FOUND"},
    ],
    ids=lambda rule: "-".join(map(str, rule.values())),
)
def test_a_failure_between_the_calls_is_made_good(
    sandbox: SandboxControl, app_id: str, rule: dict[str, Any], on_existing: Any
) -> None:
    sandbox.faults({"app_id": app_id, "operation": "add_triggers", "times": 1, **rule})
    job = enqueue_webhook(app_id, orders(), on_existing=on_existing).wait(20)
    assert_whole(sandbox, job, app_id)
    assert "its triggers may not be" in job.history[0]["message"]
    # The webhook is looked for, not made again: an API that takes duplicates would have two.
    assert calls(sandbox, app_id).count("create") == 1
    assert calls(sandbox, app_id)[2:4] == ["get", "list_triggers"]


def test_a_refusal_behind_a_call_that_had_its_effect_is_the_jobs_own(
    sandbox: SandboxControl, app_id: str
) -> None:
    refusal = {"kind": "status", "status": 403, "code": "AUTH_ERR_NO_ACCESS"}
    sandbox.faults({"app_id": app_id, "operation": "add_triggers", **refusal})
    job = enqueue_webhook(app_id, orders())
    eventually(lambda: job.refresh().history)
    assert job.history[0]["outcome"] == "CallRefused"
    assert get_store().gate.look(ACCOUNT).closed == ""


def test_a_gate_that_closes_between_the_calls_is_waited_for(
    sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults({"app_id": app_id, "operation": "create", "kind": "hold", "times": 1})
    job = enqueue_webhook(app_id, orders(), on_existing="fail")
    sandbox.wait_for_held()
    gate = get_store().gate
    gate.pause(ACCOUNT, reason="between two calls")
    sandbox.release()
    eventually(lambda: [e["outcome"] for e in job.refresh().history] == ["held"])
    assert at_the_api(sandbox, app_id)["triggers"] == []
    gate.resume(ACCOUNT)
    assert_whole(sandbox, job.wait(10), app_id)
    assert calls(sandbox, app_id) == ["create", "get", "list_triggers", "add_triggers"]


def test_a_webhook_that_is_deleted_between_the_calls_is_made_again(
    sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults(
        {"app_id": app_id, "operation": "add_triggers", "kind": "hold", "times": 1},
    )
    job = enqueue_webhook(app_id, orders())
    sandbox.wait_for_held()
    sandbox.delete_webhook(app_id, "orders")
    sandbox.release()
    assert_whole(sandbox, job.wait(20), app_id, created=2)


class TestRefused:
    def test_some_are_named_and_the_others_stay(
        self, sandbox: SandboxControl, sentry: SentrySink, app_id: str
    ) -> None:
        webhook = orders("message_sent", "mesage_read", "x:y")
        job = enqueue_webhook(app_id, webhook, allow_unknown_triggers=True).wait(10)
        assert job.state == "FAILURE"
        assert job.error is not None
        assert job.error["class"] == "TriggersRefused"
        message = job.error["message"]
        assert "'orders'" in message and repr(app_id) in message
        assert "mesage_read, x:y. The webhook is there and has message_sent." in message
        assert at_the_api(sandbox, app_id)["triggers"] == ["message_sent"]
        assert job.effect == "created"
        assert job.result is not None
        assert job.result["triggers"] == ["message_sent"]
        assert job.attempts == 1
        [event] = eventually(lambda: sentry.of(app_id))
        assert event["tags"]["class"] == "TriggersRefused"

    def test_they_are_tried_again_only_when_a_person_asks(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        from tasks.schedule import retry_failed

        each = {"message_sent": {"success": True}, "user_blocked": {"success": False}}
        sandbox.faults(
            {
                "app_id": app_id,
                "operation": "add_triggers",
                "times": 1,
                "kind": "status",
                "status": 200,
                "body": json.dumps({"data": each}),
            }
        )
        job = enqueue_webhook(app_id, orders()).wait(10)
        # The answer said that one was added, and the list of what is there says that none is.
        assert job.error is not None
        assert (
            "message_sent, user_blocked. The webhook is there and has none." in job.error["message"]
        )
        retry_failed()
        assert job.refresh().state == "FAILURE"
        retry_job(job.id)
        assert_whole(sandbox, job.wait(10), app_id)
        assert calls(sandbox, app_id).count("create") == 1

    def test_a_call_that_is_refused_whole_has_the_apis_words(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        refusal = {"status": 404, "code": "ERR_TRIGGER_NOT_FOUND", "message": "No user_blocked."}
        sandbox.faults({"app_id": app_id, "operation": "add_triggers", "kind": "status", **refusal})
        job = enqueue_webhook(app_id, orders()).wait(10)
        assert job.error is not None
        assert job.error["class"] == "TriggersRefused"
        assert (job.error["status"], job.error["code"]) == (404, "ERR_TRIGGER_NOT_FOUND")
        assert "No user_blocked." in job.error["message"]

    def test_an_answer_that_is_wrong_about_them_is_not_believed(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        each = {name: {"success": False} for name in ASKED}
        sandbox.faults(
            {
                "app_id": app_id,
                "operation": "add_triggers",
                "times": 1,
                "kind": "status",
                "status": 200,
                "body": json.dumps({"data": each}),
                "when": "after",
            }
        )
        assert_whole(sandbox, enqueue_webhook(app_id, orders()).wait(10), app_id)


class TestEnqueueing:
    def test_a_name_that_is_unknown_is_refused_unless_it_is_allowed(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        with pytest.raises(InvalidInput) as bad:
            enqueue_webhook(app_id, orders("mesage_sent"))
        assert "'mesage_sent' (did you mean 'message_sent'?)" in str(bad.value)
        assert list(bad.value.problems) == ["triggers"]
        [good, unknown] = enqueue_webhooks(
            [(app_id, orders(id="good")), (app_id, orders("after_message"))]
        )
        assert good.error is None
        assert isinstance(unknown.error, InvalidInput)
        [legacy] = enqueue_webhooks([(app_id, orders("after_message"))], webhook_version=None)
        assert legacy.error is None

    def test_all_that_is_wrong_is_told_at_once(self, sandbox: SandboxControl) -> None:
        with pytest.raises(InvalidInput) as bad:
            enqueue_webhook("a b", orders("nope"))
        assert list(bad.value.problems) == ["appId", "triggers"]

    def test_with_other_triggers_is_a_conflict_in_another_order_is_not(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        later = get_store().clock() + 60
        job = enqueue_webhook(app_id, orders(*ASKED), not_before=later)
        assert enqueue_webhook(app_id, orders(*ASKED[::-1])).id == job.id
        for triggers in (["message_sent"], [*ASKED, "group_created"], None):
            with pytest.raises(JobConflict, match="another triggers") as conflict:
                enqueue_webhook(app_id, orders(triggers=triggers))
            assert conflict.value.fields == ("triggers",)


@pytest.fixture
def own(lent_sandbox: RunningSandbox) -> Iterator[Stack]:
    with own_stack(lent_sandbox, **FAST) as stack:
        yield stack


def ready(worker: Part) -> Part:
    worker.wait_for(lambda: " ready." in worker.output())
    return worker


@pytest.mark.parametrize(
    ("on_existing", "when"),
    [("accept", "before"), ("accept", "after"), ("update", "after"), ("fail", "after")],
)
def test_a_worker_killed_between_the_calls_leaves_it_to_another(
    own: Stack, when: str, on_existing: Any
) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    worker = ready(own.start_worker())
    sandbox.faults({"kind": "hold", "operation": "add_triggers", "when": when, "times": 1})
    job = enqueue_webhook("shop", orders(), on_existing=on_existing)
    sandbox.wait_for_held()
    worker.kill()
    assert at_the_api(sandbox, "shop")["created_by_calls"] == 1
    ready(own.start_worker("second"))
    job.wait(20)
    assert_whole(sandbox, job, "shop")
    assert job.history[0]["outcome"] == "lost"
    assert calls(sandbox, "shop").count("create") == 1
    assert calls(sandbox, "shop").count("add_triggers") == (2 if when == "before" else 1)
