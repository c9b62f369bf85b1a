"""An API that stores what it is sent in a tidier form, or does not take an update."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks import Job, Webhook, enqueue_webhook, update_webhook
from tasks.store import get_store
from tests.conftest import eventually
from worker.sandbox import SandboxControl
from worker.stack import Stack

#: What is asked for, and what the sandbox makes of it.
NAME, URL = " Orders  of today \U0001f389", "https://Shop.Example.com:443/hook/"
KEPT = {"name": "Orders of today ?", "webhookURL": "https://shop.example.com/hook"}
TIDIES = ("id", "name", "emoji", "webhookURL")
DIFFERS = ["name", "webhookURL"]

CUT = {"kind": "cut", "when": "after", "times": 1}


@pytest.fixture(name="tidy")
def tidy_fixture(sandbox: SandboxControl) -> SandboxControl:
    sandbox.settings(tidies=TIDIES, duplicate=409)
    return sandbox


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "Orders", "name": NAME, "webhookURL": URL, **fields})


def calls(sandbox: SandboxControl, app_id: str) -> list[str]:
    return [c["operation"] for c in sandbox.calls(limit=10_000) if c["app_id"] == app_id]


def at_the_api(sandbox: SandboxControl, app_id: str) -> dict[str, Any]:
    [kept] = [kept for kept in sandbox.webhooks() if kept["app_id"] == app_id]
    return kept


def assert_whole(sandbox: SandboxControl, job: Job, app_id: str, outcome: str) -> None:
    assert (job.state, job.effect) == ("SUCCESS", outcome), job.error
    result = job.result or {}
    assert {name: result[name] for name in KEPT} == KEPT
    assert result["differs"] == DIFFERS
    assert result["triggers"] == ["message_sent"]
    kept = at_the_api(sandbox, app_id)
    assert {name: kept[name] for name in KEPT} == KEPT
    assert (kept["id"], kept["triggers"]) == ("orders", ["message_sent"])


def test_what_it_made_of_a_create_is_a_success_that_names_the_difference(
    stack: Stack, tidy: SandboxControl, app_id: str
) -> None:
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(10)

    assert_whole(tidy, job, app_id, "created")
    assert calls(tidy, app_id) == ["create", "add_triggers"]
    [line] = eventually(lambda: warnings(stack, job))
    assert line["differs"] == DIFFERS
    assert (line["app"], line["webhook"]) == (app_id, "Orders")


def warnings(stack: Stack, job: Job) -> list[dict[str, Any]]:
    output = "".join(part.output() for part in stack.parts)
    lines = [json.loads(line) for line in output.splitlines() if f'"{job.id}"' in line]
    return [line for line in lines if "otherwise than asked for" in line["event"]]


@pytest.mark.parametrize("on_existing", ["accept", "update", "fail"])
@pytest.mark.parametrize("shows", ["all", "bare", "iso"])
def test_what_it_made_of_a_create_of_unknown_outcome_is_the_jobs_own(
    tidy: SandboxControl, app_id: str, on_existing: Any, shows: str
) -> None:
    tidy.settings(shows=shows)
    tidy.faults({**CUT, "app_id": app_id, "operation": "create"})
    webhook = orders(triggers=["message_sent"])
    job = enqueue_webhook(app_id, webhook, on_existing=on_existing).wait(10)

    outcome = "updated" if on_existing == "update" else "existed"
    assert_whole(tidy, job, app_id, outcome)
    assert calls(tidy, app_id).count("update") == (on_existing == "update")


def test_it_is_the_jobs_own_after_its_triggers_have_failed(
    tidy: SandboxControl, app_id: str
) -> None:
    away = {"kind": "status", "status": 503, "times": 1}
    tidy.faults({**away, "app_id": app_id, "operation": "add_triggers"})
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(10)

    assert_whole(tidy, job, app_id, "existed")
    assert at_the_api(tidy, app_id)["created_by_calls"] == 1


def test_a_form_of_it_that_was_there_is_accepted_and_the_difference_named(
    tidy: SandboxControl, app_id: str
) -> None:
    tidy.put_webhook(app_id, "orders", name=KEPT["name"], url=KEPT["webhookURL"])
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(10)

    assert_whole(tidy, job, app_id, "existed")
    assert calls(tidy, app_id) == ["create", "get", "list_triggers", "add_triggers"]


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Invoices", "url": KEPT["webhookURL"]},
        {"name": KEPT["name"], "url": "https://other.example.com/hook"},
    ],
    ids=["name", "URL"],
)
def test_somebody_elses_is_a_conflict(
    tidy: SandboxControl, app_id: str, other: dict[str, str]
) -> None:
    tidy.put_webhook(app_id, "orders", **other)
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(10)

    assert (job.error or {})["class"] == "WebhookConflict"
    assert at_the_api(tidy, app_id)["triggers"] == []


@pytest.mark.parametrize("update", ["merges", "replaces"])
def test_an_update_is_sent_once_and_all_of_it(
    tidy: SandboxControl, app_id: str, update: str
) -> None:
    tidy.settings(update=update)
    tidy.put_webhook(app_id, "orders", name="Old", url=KEPT["webhookURL"], enabled=True)
    webhook = orders(triggers=["message_sent"], enabled=False, retry_on_failure=True)
    job = enqueue_webhook(app_id, webhook, on_existing="update").wait(10)

    assert_whole(tidy, job, app_id, "updated")
    assert calls(tidy, app_id).count("update") == 1
    kept = at_the_api(tidy, app_id)
    assert (kept["enabled"], kept["retryOnFailure"]) == (False, True)


def test_an_update_of_a_webhook_is_what_it_made_of_it(tidy: SandboxControl, app_id: str) -> None:
    tidy.put_webhook(app_id, "orders", name="Old", url=KEPT["webhookURL"])
    job = update_webhook(app_id, "Orders", {"name": NAME}).wait(10)

    assert (job.state, job.effect) == ("SUCCESS", "updated")
    assert (job.result or {})["differs"] == ["name"]
    assert calls(tidy, app_id) == ["get", "update"]


@pytest.mark.parametrize(("ignores", "named"), [("name", "name"), ("enabled", "enabled")])
def test_an_update_that_is_not_carried_out_ends_after_two_tries(
    sandbox: SandboxControl, app_id: str, ignores: str, named: str
) -> None:
    sandbox.settings(ignores=[ignores], duplicate=409)
    jobs = []
    for number in range(12):
        sandbox.put_webhook(f"{app_id}-{number}", "Orders", name="Old", url=URL, enabled=True)
        webhook = orders(name="New", enabled=False)
        jobs.append(enqueue_webhook(f"{app_id}-{number}", webhook, on_existing="update"))
    jobs.append(update_webhook(f"{app_id}-0", "Orders", {"name": "New", "enabled": False}))

    for job in jobs:
        error = job.wait(10).error or {}
        assert (job.state, error["class"], job.attempts) == ("FAILURE", "WebhookConflict", 1)
        assert f"2 times, and still shows another {named} than is asked for" in error["message"]
        assert "'Orders'" in error["message"] and app_id in error["message"]
        assert (job.result or {})["differs"] == [named]
    assert calls(sandbox, f"{app_id}-1").count("update") == 2
    assert get_store().gate.look(ACCOUNT).closed == ""
    assert enqueue_webhook(app_id, orders(name="New")).wait(10).state == "SUCCESS"


def test_an_update_whose_answer_shows_what_was_is_looked_after(
    sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.put_webhook(app_id, "orders", name="Old", url=URL)
    old = {"kind": "status", "status": 200, "body": '{"data": {"id": "orders", "name": "Old"}}'}
    sandbox.faults({**old, "when": "after", "app_id": app_id, "operation": "update"})
    job = update_webhook(app_id, "orders", {"name": "New"}).wait(10)

    assert (job.state, job.effect) == ("SUCCESS", "updated")
    assert calls(sandbox, app_id) == ["get", "update", "get"]


#: What the API says of a webhook that it has just created, and what it keeps.
ECHOES: dict[str, dict[str, Any]] = {
    "no name and no URL": {"id": "Orders"},
    "its id in another case": {"id": "oRDERS", "name": NAME, "webhookURL": URL},
    "another name": {"id": "Orders", "name": "Invoices", "webhookURL": URL},
    "another URL": {"id": "Orders", "webhookURL": "https://other.example.com/"},
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_an_answer_with_its_id_is_about_what_the_job_made(
    sandbox: SandboxControl, app_id: str, echo: dict[str, Any]
) -> None:
    body = json.dumps({"data": echo})
    rule = {"kind": "status", "status": 200, "body": body, "when": "after", "times": 1}
    sandbox.faults({**rule, "app_id": app_id, "operation": "create"})
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"])).wait(10)

    assert (job.state, job.effect, job.attempts) == ("SUCCESS", "created", 1)
    assert "differs" not in (job.result or {})
    assert at_the_api(sandbox, app_id)["created_by_calls"] == 1
    assert at_the_api(sandbox, app_id)["triggers"] == ["message_sent"]
