"""Webhooks changed and deleted by real workers: in order, once, whatever happens to a call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from tasks import (
    InvalidInput,
    Job,
    Webhook,
    delete_webhook,
    enqueue_webhook,
    get_job,
    set_triggers,
    update_webhook,
)
from tasks.actions import cancel_job, retry_job
from tasks.errors import StepRefused
from tasks.schedule import retry_failed
from tests.conftest import FAST, eventually, own_stack
from tests.integration.test_whole_webhook import calls, ready
from worker.sandbox import RunningSandbox, SandboxControl
from worker.stack import Stack

URL = "https://shop.example.com/hook"
PASSWORD = "Hunter2Hunter2"


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def kept(sandbox: SandboxControl, app_id: str) -> list[dict[str, Any]]:
    return [each for each in sandbox.webhooks() if each["app_id"] == app_id]


def succeeded(job: Job) -> dict[str, Any]:
    job.wait(20)
    assert job.state == "SUCCESS", job.error
    return dict(job.result or {})


class TestUpdate:
    def test_what_differs_is_sent(self, sandbox: SandboxControl, app_id: str) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
        job = update_webhook(app_id, "orders", {"name": "New", "webhook_url": URL})
        result = succeeded(job)
        assert (result["outcome"], result["changed"], job.effect) == (
            "updated",
            ["name", "webhookURL"],
            "updated",
        )
        [webhook] = kept(sandbox, app_id)
        assert (webhook["name"], webhook["webhookURL"]) == ("New", URL)
        assert calls(sandbox, app_id) == ["get", "update"]

    def test_nothing_is_sent_where_nothing_differs(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
        job = update_webhook(app_id, "orders", {"name": "Orders"})
        assert (succeeded(job)["outcome"], job.effect) == ("unchanged", "unchanged")
        assert calls(sandbox, app_id) == ["get"]

    def test_an_absent_webhook_is_a_failure_that_says_what_to_do(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        job = update_webhook(app_id, "orders", {"name": "New"}).wait(10)
        assert (job.state, (job.error or {})["class"]) == ("FAILURE", "WebhookNotFound")
        message = (job.error or {})["message"]
        assert f"App {app_id!r} has no webhook 'orders': there was nothing to update." in message
        assert "Enqueue the webhook" in message
        assert job.attempts == 1
        # Once it is there, a person may retry it.
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
        assert succeeded(retry_job(job.id))["outcome"] == "updated"

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_unknown_outcome_is_resolved_by_looking(
        self, sandbox: SandboxControl, app_id: str, when: str
    ) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
        rule = {"app_id": app_id, "operation": "update", "kind": "cut", "when": when, "times": 1}
        sandbox.faults(rule)
        result = succeeded(update_webhook(app_id, "orders", {"name": "New"}))
        assert (result["outcome"], result["changed"]) == ("updated", ["name"])
        assert [each["name"] for each in kept(sandbox, app_id)] == ["New"]
        assert calls(sandbox, app_id).count("update") == (2 if when == "before" else 1)

    def test_while_the_create_is_held_it_waits_for_it(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        sandbox.faults({"app_id": app_id, "operation": "create", "kind": "hold", "times": 1})
        create = enqueue_webhook(app_id, orders())
        update = update_webhook(app_id, "orders", {"name": "New"})
        again = update_webhook(app_id, "orders", {"name": "New"})
        assert (again.id, again.as_json()["after"]) == (update.id, create.id)
        sandbox.wait_for_held()
        assert update.refresh().state == "PENDING"
        sandbox.release()
        assert succeeded(create)["outcome"] == "created"
        assert succeeded(update)["outcome"] == "updated"
        assert calls(sandbox, app_id) == ["create", "get", "update"]
        assert kept(sandbox, app_id)[0]["name"] == "New"

    def test_what_is_wrong_is_named_and_nothing_is_stored(self, sandbox: SandboxControl) -> None:
        with pytest.raises(InvalidInput) as bad:
            update_webhook("a b", "c d", {"name": "", "id": "x"}, group="", webhook_version=3)  # type: ignore[arg-type]
        assert set(bad.value.problems) == {"appId", "id", "name", "group", "webhook_version"}


class TestDelete:
    def test_create_then_delete_then_create_again(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        sandbox.faults({"app_id": app_id, "operation": "create", "kind": "hold", "times": 1})
        create = enqueue_webhook(app_id, orders())
        delete = delete_webhook(app_id, "orders")
        again = enqueue_webhook(app_id, orders(name="Second"))
        assert len({create.id, delete.id, again.id}) == 3
        assert enqueue_webhook(app_id, orders(name="Second")).id == again.id
        sandbox.wait_for_held()
        sandbox.release()
        assert [succeeded(job)["outcome"] for job in (create, delete, again)] == [
            *("created", "deleted", "created"),
        ]
        assert calls(sandbox, app_id) == ["create", "delete", "create"]
        assert [each["name"] for each in kept(sandbox, app_id)] == ["Second"]

    def test_what_is_not_there_is_absent(self, sandbox: SandboxControl, app_id: str) -> None:
        job = delete_webhook(app_id, "orders")
        assert succeeded(job) == {"id": "orders", "outcome": "absent"}
        assert job.effect == "absent"

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_unknown_outcome_is_resolved_by_the_same_call(
        self, sandbox: SandboxControl, app_id: str, when: str
    ) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
        rule = {"app_id": app_id, "operation": "delete", "kind": "cut", "when": when, "times": 1}
        sandbox.faults(rule)
        assert succeeded(delete_webhook(app_id, "orders"))["outcome"] == "deleted"
        assert kept(sandbox, app_id) == []

    def test_after_a_failed_create_it_runs_and_the_create_does_not_come_back(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        rule = {"app_id": app_id, "operation": "create", "kind": "status", "status": 503}
        sandbox.faults(rule)
        create = enqueue_webhook(app_id, orders()).wait(20)
        assert create.state == "FAILURE"
        assert succeeded(delete_webhook(app_id, "orders"))["outcome"] == "absent"
        sandbox.faults()
        retry_failed()
        assert create.refresh().state == "FAILURE"
        with pytest.raises(StepRefused, match="--even-if-followed"):
            retry_job(create.id)
        assert succeeded(retry_job(create.id, even_if_followed=True))["outcome"] == "created"

    def test_a_cancelled_one_is_no_deletion(self, sandbox: SandboxControl, app_id: str) -> None:
        sandbox.faults({"app_id": app_id, "operation": "create", "kind": "hold", "times": 1})
        create = enqueue_webhook(app_id, orders())
        sandbox.wait_for_held()
        cancelled = cancel_job(delete_webhook(app_id, "orders").id)
        assert (cancelled.state, cancelled.effect) == ("REVOKED", "none")
        update = update_webhook(app_id, "orders", {"name": "New"})
        sandbox.release()
        assert succeeded(update)["outcome"] == "updated"
        assert succeeded(create)["outcome"] == "created"
        assert calls(sandbox, app_id) == ["create", "get", "update"]


@pytest.fixture
def own(lent_sandbox: RunningSandbox) -> Iterator[Stack]:
    with own_stack(lent_sandbox, **FAST) as stack:
        yield stack


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_in_the_middle_of_a_delete_leaves_it_to_another(
    own: Stack, when: str
) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    sandbox.put_webhook("shop", "orders", name="Orders", url=URL)
    worker = ready(own.start_worker())
    sandbox.faults({"kind": "hold", "operation": "delete", "when": when, "times": 1})
    delete = delete_webhook("shop", "orders")
    again = enqueue_webhook("shop", orders(name="Second"))
    sandbox.wait_for_held()
    worker.kill()
    ready(own.start_worker("second"))
    assert succeeded(delete)["outcome"] == "deleted"
    assert delete.history[0]["outcome"] == "lost"
    assert succeeded(again)["outcome"] == "created"
    assert sandbox.state()["effects"]["delete"] == 1
    assert [each["name"] for each in kept(sandbox, "shop")] == ["Second"]


def test_several_workers_keep_the_order_of_each_webhook(own: Stack) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    for name in ("one", "two", "three"):
        own.start_worker(name)
    sandbox.faults({"kind": "latency", "seconds": 0.05})
    last: dict[str, Job] = {}
    for number in range(4):
        for app_id in (f"app-{n}" for n in range(5)):
            enqueue_webhook(app_id, orders(name=f"N{number}"))
            update_webhook(app_id, "orders", {"name": f"U{number}"})
            last[app_id] = set_triggers(app_id, "orders", ["message_sent"])
            if number < 3:
                last[app_id] = delete_webhook(app_id, "orders")
    for app_id, job in last.items():
        job.wait(60)
        assert job.state == "SUCCESS"
        one_round = ["create", "get", "update", "list_triggers", "add_triggers"]
        assert calls(sandbox, app_id) == [*[*one_round, "delete"] * 3, *one_round]
        [webhook] = kept(sandbox, app_id)
        assert (webhook["name"], webhook["triggers"]) == ("U3", ["message_sent"])


def test_a_password_reaches_the_api_alone(own: Stack) -> None:
    import redis

    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    sandbox.put_webhook("shop", "orders", name="Orders", url=URL)
    worker = ready(own.start_worker())
    job = update_webhook("shop", "orders", {"username": "shop", "password": SecretStr(PASSWORD)})
    assert succeeded(job)["changed"] == ["useBasicAuth", "username", "password"]
    assert get_job(job.id).record.webhook == {
        "id": "orders",
        "useBasicAuth": True,
        "username": "shop",
    }
    with redis.Redis.from_url(own.env["REDIS_URL"], decode_responses=True) as client:
        everything = " ".join(_text(client, key) for key in client.scan_iter())
    assert PASSWORD not in everything + worker.output() + json.dumps(job.as_json())
    assert eventually(lambda: kept(sandbox, "shop")[0]["username"] == "shop")


def _text(client: Any, key: str) -> str:
    kind = client.type(key)
    read = {"hash": client.hgetall, "string": client.get, "zset": lambda k: client.zrange(k, 0, -1)}
    return str(read[kind](key)) if kind in read else ""
