"""The audit stream: who changed what by the command line, noted before it was done."""

from __future__ import annotations

import json
import os
import pwd
import socket
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.audit import Who
from tasks.audited import audited, whoever_runs_this
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

run = run_fixture
ALICE = Who("alice", "desk")
ON_JOB = {"job": ID, "account": "default", "app_id": "shop", "webhook_id": "orders"}
ON_WEBHOOK = {"app_id": "shop", "webhook_id": "orders"}
WEBHOOK = ("--app-id", "shop", "--id", "orders")


@pytest.fixture
def client(redis_server: str) -> Any:
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        yield client


def told(store: JobStore) -> list[tuple[str, Any, str | None, Any]]:
    """Action, what it was done to, how it ended and what came of it, in their order."""
    actions = [(a.action, a.on, a.outcome, a.result) for a in store.audit.actions()]
    return actions[::-1]


def test_each_command_that_changes_something_is_noted(
    run: Run, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    monkeypatch.setenv("HOOK_PASSWORD", PASSWORD)
    file = tmp_path / "webhooks.jsonl"
    file.write_text('{"app_id": "shop", "id": "other", "name": "x", "webhookURL": "https://x.io"}')

    run(*ENQUEUE)  # as any producer does; its record tells of it
    assert told(store) == []

    jobs = {}
    assert run("cancel", ID).code == 0
    assert run("retry", ID).code == 0
    fail(store)
    assert run("retry", "--failed", "--yes", "--app-id", "shop", "--rate", "1/h").code == 0
    assert run("retry", "--failed", "--app-id", "shop").code == 0  # a preview
    assert run("cancel", ID).code == 0
    assert run("forget", ID).code == 0
    password = "--username", "shop", "--password-env", "HOOK_PASSWORD"
    jobs["update"] = run("update", *WEBHOOK, "--name", "New", *password, "--json").json["id"]
    jobs["triggers"] = run("set-triggers", *WEBHOOK, "message_sent", "--json").json["id"]
    jobs["delete"] = run("delete", *WEBHOOK, "--json").json["id"]
    assert run("import", file).code == 0
    assert run("gate", "pause", "--reason", "maintenance", "--until", "+2h").code == 0
    assert run("gate", "resume").code == 0
    client.zrem("webhooks:index", jobs["update"])
    assert run("check", "--repair").code == 0
    for command in (("list",), ("status", jobs["update"]), ("gate",), ("check",), ("audit",)):
        assert run(*command).code == 0  # which change nothing

    entries = told(store)
    until = entries[9][1].pop("until")
    assert until.endswith("+00:00")
    assert entries == [
        ("cancel", ON_JOB, "done", {"state": "REVOKED"}),
        ("retry", ON_JOB, "done", {}),
        ("retry --failed", {"app_id": "shop", "per_second": 1 / 3600}, "done", {"retried": 1}),
        ("cancel", ON_JOB, "done", {"state": "REVOKED"}),
        ("forget", ON_JOB, "done", {}),
        (
            "update",
            {"account": "default", **ON_WEBHOOK, "fields": ["name", "username", "password"]},
            "done",
            {"job": jobs["update"]},
        ),
        (
            "set-triggers",
            {"account": "default", **ON_WEBHOOK, "triggers": 1},
            "done",
            {"job": jobs["triggers"]},
        ),
        ("delete", {"account": "default", **ON_WEBHOOK}, "done", {"job": jobs["delete"]}),
        (
            "import",
            {"file": "webhooks.jsonl", "lines": 1},
            "done",
            {"new": 1, "existing": 0, "bad": 0},
        ),
        ("gate pause", {"account": "default", "reason": "maintenance"}, "done", {}),
        ("gate resume", {"account": "default"}, "done", {"was": "paused"}),
        ("check --repair", {}, "done", {"jobs": [jobs["update"]], "mended": 1, "left": 0}),
    ]
    assert PASSWORD not in str(client.xrange("webhooks:audit"))
    assert {action.who for action in store.audit.actions()} == {whoever_runs_this()}


def test_what_was_refused_is_told_as_that(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    succeed(store)
    assert run("cancel", ID).code == 1
    assert run("retry", ID).code == 1
    assert run("update", *WEBHOOK, "--name", "x" * 51).code == 2
    assert [(action, outcome) for action, _, outcome, _ in told(store)] == [
        ("cancel", "failed: StepRefused"),
        ("retry", "failed: StepRefused"),
        ("update", "failed: InvalidInput"),
    ]


def test_what_was_typed_in_a_wrong_place_is_noted_nowhere(
    run: Run, store: JobStore, client: Any
) -> None:
    words = "no name, perhaps a secret"
    for command in (("cancel", words), ("retry", words), ("forget", words)):
        assert run(*command).code == 1
    assert run("delete", "--app-id", words, "--id", words, "--account", words).code == 2
    assert run("gate", "pause", "--reason", "x", "--account", words).code == 2
    assert told(store) == [("delete", {}, "failed: InvalidInput", {})]
    assert words not in str(client.xrange("webhooks:audit"))


CHANGES = {
    "cancel": ("cancel", ID),
    "update": ("update", *WEBHOOK, "--name", "New"),
    "set-triggers": ("set-triggers", *WEBHOOK, "--none"),
    "delete": ("delete", *WEBHOOK),
    "import": ("import", "-"),
    "gate pause": ("gate", "pause", "--reason", "x"),
    "gate resume": ("gate", "resume"),
    "check": ("check", "--repair"),
}
CHANGES_OF_FAILED = {
    "retry": ("retry", ID),
    "retry --failed": ("retry", "--failed", "--yes"),
    "forget": ("forget", ID),
}


@pytest.mark.parametrize("name", [*CHANGES, *CHANGES_OF_FAILED])
def test_nothing_is_done_that_cannot_be_noted(
    run: Run, store: JobStore, client: Any, name: str
) -> None:
    run(*ENQUEUE)
    if name in CHANGES_OF_FAILED:
        fail(store)
    store.gate.pause("default", reason="so it is")
    client.zrem("webhooks:index", ID)
    client.set("webhooks:audit", "no stream")
    before = {key: client.dump(key) for key in client.scan_iter()}
    line = b'{"app_id": "shop", "id": "other", "name": "x", "webhookURL": "https://x.io"}'
    said = run(*{**CHANGES, **CHANGES_OF_FAILED}[name], stdin=line)
    assert said.code == 3 and "Nothing is half-done" in said.err
    assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_an_action_whose_end_nobody_noted_is_shown(run: Run, store: JobStore) -> None:
    store.audit.begin("cancel", ALICE, {"job": ID})
    with pytest.raises(KeyboardInterrupt), audited("import", who=ALICE) as result:
        result["new"] = 7
        raise KeyboardInterrupt
    later, first = run("audit").out.splitlines()[1:]
    assert "alice at desk" in first and f"job: {ID}" in first and "not known" in first
    assert "import" in later and "interrupted, new: 7" in later
    assert [one["outcome"] for one in map(json.loads, run("audit", "--json").out.splitlines())] == [
        "interrupted",
        None,
    ]


def test_entries_are_found_by_time_and_number(run: Run, store: JobStore, client: Any) -> None:
    for hours in (3, 2, 1):
        at = int((store.clock() - hours * 3600) * 1000)
        client.xadd("webhooks:audit", {"action": f"{hours} ago", "user": "a", "host": "b"}, at)
    assert [action for action, *_ in told(store)] == ["3 ago", "2 ago", "1 ago"]
    shown = run("audit", "--since", "-150m", "--json").out.splitlines()
    assert [json.loads(line)["action"] for line in shown] == ["1 ago", "2 ago"]
    shown = run("audit", "--limit", "1")
    assert "1 ago" in shown.out and "2 ago" not in shown.out
    assert shown.err == "These are 1; there may be more: see --limit.\n"
    assert run("audit", "--since", "-1m").err == "There are no such entries.\n"


def test_the_stream_has_a_bound(
    store: JobStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.audit.AUDIT_ENTRIES", 100)
    monkeypatch.setattr("tasks.audit.PAGE", 30)
    for number in range(250):
        store.audit.end(store.audit.begin("cancel", ALICE, {"number": number})[0], "done", {})
    assert 100 <= client.xlen("webhooks:audit") <= 200
    numbers = [on["number"] for _, on, outcome, _ in told(store) if outcome == "done"]
    assert len(numbers) >= 49 and numbers == list(range(250 - len(numbers), 250))


def test_an_entry_is_bounded_and_shown_without_what_a_terminal_obeys(
    run: Run, store: JobStore, client: Any
) -> None:
    store.audit.begin("cancel\x1b[2J", Who("a" * 9_000, "b\nc"), {"ids": ["x" * 9_000]})
    [(_, fields)] = client.xrange("webhooks:audit")
    assert max(map(len, fields.values())) == 1_000
    assert fields["host"] == "b?c" and fields["on"] == '{"too long": ["ids"]}'
    client.xadd("webhooks:audit", {"action": "\x1b[2J", "on": "[no", "user": "\x1b]0;x\x07"})
    assert "\x1b" not in run("audit").out


def test_of_several_that_are_asked_at_once_one_makes_the_entry(
    store: JobStore, client: Any
) -> None:
    first, new = store.audit.begin("cancel", ALICE, {}, once="revoke:x", seconds=2)
    assert new
    assert store.audit.begin("cancel", ALICE, {}, once="revoke:x", seconds=2) == (first, False)
    assert store.audit.begin("cancel", ALICE, {}, once="revoke:y", seconds=2)[1]
    with audited("cancel", who=ALICE, once="revoke:x", seconds=2):
        pass  # who made the entry says how it ended
    assert [outcome for *_, outcome, _ in told(store)] == [None, None]
    assert 1_000 < client.pttl("webhooks:round:revoke:x") <= 2_000
    client.delete("webhooks:round:revoke:x")
    assert store.audit.begin("cancel", ALICE, {}, once="revoke:x", seconds=2)[1]


def test_who_it_was_is_told_by_the_system_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("USER", account)
    assert whoever_runs_this() == Who(account, socket.gethostname(), "command line")
    monkeypatch.setenv("USER", "somebody-else")
    assert whoever_runs_this().user == f"somebody-else (as {account})"
    monkeypatch.setenv("SUDO_USER", "alice")
    assert whoever_runs_this().user == f"alice (as {account})"
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert whoever_runs_this().user == f"alice (as uid {os.getuid()})"
