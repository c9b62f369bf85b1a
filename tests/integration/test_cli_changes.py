"""`update`, `delete` and `set-triggers` as a person runs them."""

from __future__ import annotations

import pytest

from tasks.jobs import JobStore
from tests.integration.commands import (
    ENQUEUE,
    ID,
    PASSWORD,
    Run,
    fail,
    run_fixture,
    succeed,
)
from tests.sealed import opened

run = run_fixture

WHICH = ("--app-id", "shop", "--id", "orders")


def test_an_update_names_what_changes(
    run: Run, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", PASSWORD)
    changes = ("--name", "New", "--enabled", "off", "--username", "u", "--password-env", "PASSWORD")
    said = run("update", *WHICH, *changes, "--json")
    assert said.code == 0
    assert said.json["action"] == "update"
    assert said.json["webhook"] == {
        "id": "orders",
        "name": "New",
        "enabled": False,
        "useBasicAuth": True,
        "username": "u",
    }
    assert opened(said.json["id"]) == PASSWORD


def test_a_delete_waits_for_the_create_and_is_the_webhooks_latest_job(
    run: Run, store: JobStore
) -> None:
    run(*ENQUEUE)
    said = run("delete", *WHICH, "--json")
    assert (said.code, said.json["after"], said.json["state"]) == (0, ID, "PENDING")
    assert run("delete", *WHICH, "--json").json["id"] == said.json["id"]
    shown = run("status", *WHICH)
    assert f"Runs after  {ID}" in shown.out
    assert "delete" in shown.out
    assert "orders (delete)" in run("list").out
    assert run("status", ID, "--json").json["action"] == "create"


def test_triggers_are_given_by_name_or_none_at_all(run: Run) -> None:
    said = run("set-triggers", *WHICH, "message_sent", "user_blocked", "--json")
    assert said.json["triggers"] == ["message_sent", "user_blocked"]
    assert run("set-triggers", *WHICH, "--none", "--json").json["triggers"] == []
    assert run("set-triggers", *WHICH).code == 2
    assert run("set-triggers", *WHICH, "--none", "message_sent").code == 2
    unknown = run("set-triggers", *WHICH, "mesage_sent")
    assert (unknown.code, "did you mean 'message_sent'?" in unknown.err) == (2, True)


def test_what_is_wrong_is_told(run: Run, store: JobStore) -> None:
    nothing = run("update", *WHICH)
    assert (nothing.code, nothing.err) == (2, "webhook 'orders': there is nothing to change\n")
    stray = run("update", *WHICH, "--name", "New", PASSWORD)
    assert (stray.code, "belong to no option" in stray.err) == (2, True)
    assert store.counts() == dict.fromkeys(store.counts(), 0)


def test_a_job_that_others_follow_is_retried_only_if_that_is_said(
    run: Run, store: JobStore
) -> None:
    run(*ENQUEUE)
    fail(store)
    deletion = run("delete", *WHICH, "--json").json["id"]
    succeed(store, deletion)
    refused = run("retry", ID)
    assert refused.code == 1
    assert f"job {deletion} was accepted after it for the same webhook" in refused.err
    assert "--even-if-followed" in refused.err
    assert run("retry", "--failed", "--yes", "--json").json == {"retried": 0}
    assert run("retry", "--failed", "--even-if-followed").code == 2
    assert run("retry", ID, "--even-if-followed").code == 0
    assert store.get(ID).state == "PENDING"
