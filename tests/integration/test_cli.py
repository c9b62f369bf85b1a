"""The commands but `import`: what they print where, and their exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from tasks import enqueue_webhook, get_job
from tasks.jobs import JobStore
from tasks.record import job_id
from tests.integration.commands import (
    ENQUEUE,
    ID,
    ORDERS,
    PASSWORD,
    WITH_USER,
    Run,
    claimed,
    fail,
    run_fixture,
    succeed,
)
from tests.sealed import KEYS, opened

run = run_fixture


@pytest.fixture(name="client")
def client_fixture(redis_server: str) -> Any:
    return redis.Redis.from_url(redis_server, decode_responses=True)


# -- enqueue ------------------------------------------------------------------------------------


def test_enqueue_says_which_job_it_is_and_the_same_again_is_the_same_job(run: Run) -> None:
    assert run(*ENQUEUE) == (0, f"Accepted: job {ID} is PENDING\n", "")
    again = f"Was there already, and stays as it was: job {ID} is PENDING\n"
    assert run(*ENQUEUE) == (0, again, "")
    said = run(*ENQUEUE, "--json").json
    created_at = datetime.fromisoformat(said["created_at"])
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 60
    assert said == {
        "id": ID,
        "state": "PENDING",
        "action": "create",
        "after": None,
        "app_id": "shop",
        "webhook_id": "orders",
        "attempts": 0,
        "result": None,
        "error": None,
        "effect": "none",
        "cancelled": False,
        "created_at": said["created_at"],
        "due_at": said["created_at"],
        "ended_at": None,
        "expires_at": None,
        "webhook": get_job(ID).record.webhook,
        "triggers": [],
        "on_existing": "accept",
        "history": [],
    }


def test_a_job_for_later_says_when_and_keeps_its_time(run: Run) -> None:
    said = run(*ENQUEUE, "--not-before", "+2h").out
    due = datetime.fromisoformat(said.split()[-1])
    assert abs((due - datetime.now(UTC)).total_seconds() - 7_200) < 60
    assert run(*ENQUEUE, "--not-before", "+5h").out.split()[-1] == said.split()[-1]


def test_every_bad_field_is_named_at_once(run: Run) -> None:
    bad = ("--app-id", "", "--id", "bad id!", "--name", "n" * 60, "--url", "http://x")
    said = run("enqueue", *bad, "--account", "zz", "--json")
    assert said.code == 2
    for name in ("account: ", "app id: ", "id: ", "name: ", "webhookURL: "):
        assert name in said.error


def test_a_damaged_job_is_no_success(run: Run, client: Any) -> None:
    run(*ENQUEUE)
    client.hset(f"webhooks:job:{ID}", "webhook", "{bad")
    for words in (ENQUEUE, ("status", ID), ("cancel", ID), ("forget", ID), ("retry", ID)):
        said = run(*words)
        assert (said.code, said.out) == (1, "")
        assert f"The record of job {ID} is damaged and was left as it is" in said.err
    [found] = run("check", "--repair").out.splitlines()
    assert f"look at the key webhooks:job:{ID} in Redis" in found


def test_enqueue_takes_every_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_PASSWORD", PASSWORD)
    options = ("--disabled", "--retry-on-failure", "--webhook-version", "legacy")

    assert run(*WITH_USER, "--password-env", "HOOK_PASSWORD", *options).code == 0

    record = get_job(ID).record
    assert record.webhook == {
        **ORDERS,
        "enabled": False,
        "retryOnFailure": True,
        "useBasicAuth": True,
        "username": "shop",
    }
    assert record.webhook_version is None
    assert opened(ID) == PASSWORD


def test_a_password_comes_from_standard_input_without_its_line_end(run: Run) -> None:
    assert run(*WITH_USER, "--password-stdin", stdin=PASSWORD.encode() + b"\r\n").code == 0
    assert opened(ID) == PASSWORD


@pytest.mark.parametrize(
    ("options", "stdin", "words"),
    [
        (("--password", PASSWORD), b"", "Use --password-env VAR"),
        ((f"--password={PASSWORD}",), b"", "Use --password-env VAR"),
        (("--password",), b"", "Use --password-env VAR"),
        (("--password-prompt", PASSWORD), b"", "belong to no option"),
        (("--password-env", PASSWORD), b"", "a variable that is not set, or empty"),
        (("--password-stdin",), b"\n", "holds no password"),
        (("--password-stdin",), b"\xff" + PASSWORD.encode(), "holds no password"),
        (("--password-stdin",), PASSWORD.encode() + b"\nmore", "password: only ASCII letters"),
        (("--password-stdin", "--password-env", "HOME"), b"", "from one place only"),
        ((), b"", "needs username and password (no password)"),
    ],
)
def test_a_password_that_cannot_be_taken_is_refused(
    run: Run, options: tuple[str, ...], stdin: bytes, words: str
) -> None:
    said = run(*WITH_USER, *options, "--json", stdin=stdin)

    assert (said.code, said.out) == (2, "")
    assert words in said.error


def test_a_password_without_sealing_keys_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "")
    said = run(*WITH_USER, "--password-stdin", stdin=PASSWORD.encode())
    assert (said.code, said.out) == (2, "")
    assert "needs SEALING_PUBLIC_KEY" in said.err


def test_a_wrong_webhook_and_a_conflict_are_bad_input(run: Run) -> None:
    wrong = run("enqueue", "--app-id", "a b", "--id", "!", "--name", "N", "--url", "http://x")
    assert wrong.code == 2

    run(*ENQUEUE)
    conflict = run(*ENQUEUE, "--disabled", "--json")

    assert (conflict.code, conflict.out) == (2, "")
    assert "was enqueued before with another enabled" in conflict.error


@pytest.mark.parametrize(
    ("when", "seconds"), [("+90s", 90), ("+10m", 600), ("+2h", 7200), ("+1d", 86_400), ("+0s", 0)]
)
def test_not_before_may_be_relative(run: Run, when: str, seconds: int) -> None:
    assert run(*ENQUEUE, "--not-before", when).code == 0
    due = get_job(ID).due_at
    assert due is not None
    assert abs((due - datetime.now(UTC)).total_seconds() - seconds) < 5


@pytest.mark.parametrize("offset", [0, 2, -9])
def test_not_before_may_be_an_instant(run: Run, offset: int) -> None:
    instant = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    text = instant.isoformat().replace("+00:00", "Z")
    if offset:
        text = instant.astimezone(timezone(timedelta(hours=offset))).isoformat()

    assert run(*ENQUEUE, "--not-before", text).code == 0

    assert get_job(ID).due_at == instant


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("2027-01-31T09:00:00", "has no time zone"),
        ("2027-01-31", "has no time zone"),
        ("tomorrow", "is not like"),
        ("+10", "is not like"),
        ("+999999999d", "is not like"),
        ("+9999d", "more than ten years"),
    ],
)
def test_not_before_must_be_an_instant(run: Run, when: str, words: str) -> None:
    said = run(*ENQUEUE, "--not-before", when, "--json")
    assert said.code == 2
    assert words in said.error


def test_waiting_ends_with_the_job(run: Run, store: JobStore) -> None:
    assert run(*ENQUEUE, "--wait", "0.1", "--json").code == 4
    succeed(store)
    done = run(*ENQUEUE, "--wait")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Waited for: job {ID} is SUCCESS\n"

    enqueue_webhook("shop", {**ORDERS, "id": "users"})
    fail(store, job_id("default", "shop", "users"))
    failed = run(*("users" if arg == "orders" else arg for arg in ENQUEUE), "--wait", "5")
    assert failed.code == 1
    assert "is FAILURE: The plan does not allow it." in failed.out


def test_a_job_that_is_not_over_in_time_goes_on(run: Run) -> None:
    said = run(*ENQUEUE, "--wait", "0.1", "--json")
    assert said.code == 4
    assert said.json["state"] == "PENDING"
    assert "it goes on" in said.error


# -- status -------------------------------------------------------------------------------------


def test_status_shows_a_failed_job_and_exits_with_0(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    fail(store, message="The API said \x1b[31mno\x1b[0m.\nFor ever.")

    said = run("status", ID)

    assert (said.code, said.err) == (0, "")
    for word in ("FAILURE", "shop", "orders (Orders)", "The API said no. For ever.", "0.2 s"):
        assert word in said.out
    assert "\x1b" not in said.out
    assert run("status", "--app-id", "shop", "--id", "orders", "--json").json["id"] == ID


def test_status_says_when_a_job_is_due_and_what_came_of_it(run: Run, store: JobStore) -> None:
    run(*ENQUEUE, "--not-before", "+3d")
    assert "(in 3 days)" in run("status", ID).out
    run("cancel", ID)
    assert "REVOKED" in run("status", ID).out
    run("retry", ID)
    claimed_record = claimed(store)
    assert "on worker@host" in run("status", ID).out
    assert run("cancel", ID).out.startswith(f"Cancelled: job {ID} is STARTED. A call is under way")
    assert "(cancelled: ends with the call" in run("status", ID).out
    store.finish(claimed_record, "SUCCESS", result={**ORDERS, "outcome": "existed"})
    assert "the webhook was there already" in run("status", ID).out


@pytest.mark.parametrize(
    "args", [(), ("x", "--app-id", "a", "--id", "b"), ("--app-id", "a"), ("x", "--id", "b")]
)
def test_status_wants_one_job(run: Run, args: tuple[str, ...]) -> None:
    said = run("status", *args)
    assert said.code == 2
    assert "Give either a JOB" in said.err


@pytest.mark.parametrize("name", ["status", "retry", "cancel", "forget"])
def test_a_job_that_is_not_there_is_not_done(run: Run, name: str) -> None:
    said = run(name, "nope", "--json")
    assert (said.code, said.out) == (1, "")
    assert said.error.startswith("There is no job nope")
