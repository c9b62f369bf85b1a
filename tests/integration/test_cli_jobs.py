"""`list`, `retry`, `cancel` and `forget`: jobs are found, taken up again and ended."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
import redis

from tasks import enqueue_webhook, get_job
from tasks.jobs import JobStore
from tasks.record import job_id
from tests.integration.commands import (
    ENQUEUE,
    ID,
    ORDERS,
    Run,
    at_terminal,
    claimed,
    environment_fixture,
    fail,
    run_fixture,
    succeed,
)

run = run_fixture
environment = environment_fixture


def listed(run: Run, *options: str) -> str:
    lines = run("list", "--json", *options).out.splitlines()
    return "".join(json.loads(line)["webhook_id"] for line in lines)


@pytest.fixture
def failed(store: JobStore, redis_server: str) -> list[str]:
    """Five jobs, failed one, two, three, four and five hours ago."""
    causes = [
        ("ApiUnavailable", None),
        ("ApiUnavailable", "ERR_EXCEPTION"),
        ("PlanLimit", "ERR_PLAN_RESTRICTION"),
        ("PlanLimit", "ERR_PLAN_QUOTA_RESTRICTION"),
        ("PlanLimit", "ERR_PLAN_QUOTA_RESTRICTION"),
    ]
    ids = []
    with redis.Redis.from_url(redis_server) as client:
        for hours, (name, (failure, code)) in enumerate(zip("abcde", causes, strict=True), 1):
            job = enqueue_webhook(f"app-{name}", {**ORDERS, "id": name})
            fail(store, job.id, failure=failure, code=code)
            client.zadd("webhooks:failed", {job.id: store.clock() - hours * 3600})
            ids.append(job.id)
    return ids


# -- list ---------------------------------------------------------------------------------------


def test_list_shows_the_newest_first_and_can_choose(run: Run, store: JobStore) -> None:
    for name in ("a", "b", "c"):
        enqueue_webhook(f"app-{name}", {**ORDERS, "id": name})
        time.sleep(0.002)  # the index is by time of enqueueing, in milliseconds
    fail(store, job_id("default", "app-b", "b"))

    assert listed(run) == "cba"
    assert listed(run, "--limit", "2") == "cb"
    assert listed(run, "--state", "failure") == "b"
    assert listed(run, "--state", "PENDING") == "ca"
    assert listed(run, "--class", "PlanLimit") == "b"
    assert listed(run, "--app-id", "app-a") == "a"
    table = run("list").out.splitlines()
    assert [line.split()[0] for line in table] == ["State", "PENDING", "FAILURE", "PENDING"]
    assert "PlanLimit" in table[2]
    assert run("list", "--app-id", "none") == (0, "", "There are no such jobs.\n")
    assert run("list", "--limit", "4").err == ""
    assert run("list", "--limit", "2").err == "These are 2; there may be more: see --limit.\n"
    assert run("list", "--since", "-1h", "--until", "-2h").code == 2


def test_at_a_narrow_terminal_a_list_says_why(
    failed: list[str], environment: dict[str, str]
) -> None:
    shown = at_terminal("list", "--state", "FAILURE", env=environment)
    assert shown.count("ApiUnavailable") == 2
    assert all(one in shown for one in failed)


def test_a_time_that_is_shown_can_be_asked_for(run: Run, failed: list[str]) -> None:
    [line] = [line for line in run("list").out.splitlines() if failed[2] in line]
    assert run("list", "--since", line.split()[-2], "--until", line.split()[-2]).code == 0
    assert run("list", "--class", "Nonsense").code == 2


def test_failed_jobs_are_found_by_class_code_app_and_time(run: Run, failed: list[str]) -> None:
    now = datetime.now(UTC).timestamp()

    def at(hours: float) -> str:
        return datetime.fromtimestamp(now - hours * 3600, UTC).isoformat()

    def found(*options: str) -> str:
        return listed(run, "--state", "FAILURE", *options)

    assert found() == "abcde"
    assert found("--class", "PlanLimit") == "cde"
    assert found("--code", "ERR_PLAN_QUOTA_RESTRICTION") == "de"
    assert found("--app-id", "app-e", "--class", "planlimit") == "e"
    assert found("--since", "-150m") == "ab"
    assert found("--until", "-150m") == "cde"
    assert found("--since", at(4.5), "--until", at(1.5)) == "bcd"
    assert found("--since", at(4.5), "--until", at(1.5), "--class", "ApiUnavailable") == "b"
    # Without --state it is the time of enqueueing, which is now.
    assert listed(run, "--since", "-10m", "--class", "PlanLimit") == "edc"
    assert listed(run, "--until", "-10m") == ""


@pytest.mark.parametrize(
    ("when", "words"),
    [("+2h", "-2h"), ("2h", "-2h"), ("2026-01-31", "has no time zone"), ("-9999999d", "is not")],
)
def test_a_time_in_the_past_must_be_an_instant(run: Run, when: str, words: str) -> None:
    said = run("list", "--since", when, "--json")
    assert said.code == 2
    assert words in said.error


def test_a_failed_job_keeps_reason_history_and_payload(run: Run, failed: list[str]) -> None:
    [said] = [json.loads(run("list", "--json", "--app-id", "app-c").out)]
    assert said["error"]["code"] == "ERR_PLAN_RESTRICTION"
    assert [entry["outcome"] for entry in said["history"]] == ["PlanLimit"]
    assert said["webhook"]["webhookURL"] == ORDERS["webhookURL"]


# -- retry --------------------------------------------------------------------------------------


def test_retry_takes_up_what_failed(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    refused = run("retry", ID)
    assert (refused.code, refused.out) == (1, "")
    assert "only a failed or cancelled one" in refused.err

    fail(store)
    assert run("retry", ID, "--json").json["state"] == "PENDING"


def test_retry_of_many_shows_first_what_it_would_do(run: Run, failed: list[str]) -> None:
    said = run("retry", "--failed", "--rate", "1/h")
    assert said.code == 1
    assert "5 failed jobs, due from now until" in said.out
    rows = [line.split() for line in said.out.splitlines()]
    assert ["2", "PlanLimit", "ERR_PLAN_QUOTA_RESTRICTION"] in rows
    assert ["1", "ApiUnavailable"] in rows
    assert said.err == "Nothing was changed. To take them up again, add --yes.\n"

    preview = run("retry", "--failed", "--rate", "1/h", "--json", "--class", "PlanLimit").json
    assert preview["would_retry"] == 3
    assert preview["by_failure"][0]["jobs"] == 2
    assert preview["first"] == [failed[4], failed[3], failed[2]]
    last = datetime.fromisoformat(preview["last_due_at"]) - datetime.now(UTC)
    assert abs(last.total_seconds() - 2 * 3600) < 30
    assert {get_job(one).state for one in failed} == {"FAILURE"}


def test_retry_of_a_selection(run: Run, failed: list[str]) -> None:
    chosen = ("--failed", "--class", "PlanLimit", "--since", "-270m")
    assert run("retry", *chosen, "--yes") == (0, "2 failed jobs taken up again\n", "")
    assert [get_job(one).state for one in failed] == ["FAILURE"] * 2 + ["PENDING"] * 2 + ["FAILURE"]
    assert run("retry", *chosen, "--yes", "--json").json == {"retried": 0}
    assert run("retry", *chosen) == (0, "", "There are no such failed jobs.\n")
    assert run("retry", "--failed", "--yes", "--json").json == {"retried": 3}


def test_retry_at_a_rate_lets_them_wait_in_redis(run: Run, failed: list[str]) -> None:
    assert run("retry", "--failed", "--yes", "--rate", "2/m").code == 0
    due = [get_job(one).due_at for one in reversed(failed)]  # the oldest failure is first
    assert None not in due
    seconds = [(later - due[0]).total_seconds() for later in due if later and due[0]]
    assert seconds == pytest.approx([0, 30, 60, 90, 120], abs=0.01)


@pytest.mark.parametrize("rate", ["5", "0/s", "5/d", "-1/s", "1e3/s", "s", "0.0/s", "nan/s"])
def test_a_rate_is_some_a_second_minute_or_hour(run: Run, rate: str) -> None:
    said = run("retry", "--failed", "--rate", rate, "--json")
    assert said.code == 2
    assert "is not like 5/s, 300/m or 1000/h" in said.error


@pytest.mark.parametrize(
    "args", [(), (ID, "--failed"), (ID, "--yes"), (ID, "--rate", "5/s"), (ID, "--code", "X")]
)
def test_retry_wants_one_job_or_the_failed_ones(run: Run, args: tuple[str, ...]) -> None:
    assert run("retry", *args).code == 2


@pytest.mark.parametrize(("answer", "state"), [("y", "PENDING"), ("n", "FAILURE"), ("", "FAILURE")])
def test_at_a_terminal_retry_asks(
    failed: list[str], environment: dict[str, str], answer: str, state: str
) -> None:
    code = int(state == "FAILURE")
    shown = at_terminal("retry", "--failed", env=environment, typed=answer or "\n", code=code)
    assert "5 failed jobs, due from now" in shown
    assert ("5 failed jobs taken up again" in shown) == (state == "PENDING")
    assert ("Nothing was changed." in shown) == (state == "FAILURE")
    assert {get_job(one).state for one in failed} == {state}


# -- cancel, forget -----------------------------------------------------------------------------


def test_cancel_and_forget(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    assert run("forget", ID).code == 1
    said = run("cancel", ID)
    assert said == (0, f"Cancelled: job {ID} is REVOKED. It created no webhook.\n", "")
    assert run("forget", ID, "--json").json == {"forgotten": ID}
    run(*ENQUEUE)
    succeed(store)
    assert run("cancel", ID).code == 1
    assert run("forget", ID) == (0, f"Forgot job {ID}\n", "")


def test_cancel_says_what_is_known_of_an_earlier_call(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    unknown = {"delay": 0, "outcome_unknown": True, "uses_attempt": True}
    store.reschedule(claimed(store), error={"class": "ApiUnavailable"}, entry={}, **unknown)

    said = run("cancel", ID).out

    assert "is REVOKED. The webhook may exist all the same" in said
    assert "look for 'orders' among the webhooks of app 'shop' at CometChat" in said
    assert run("status", ID, "--json").json["effect"] == "unknown"
    assert "The webhook may exist all the same" in " ".join(run("status", ID).out.split())


def test_cancel_during_a_call_says_that_its_end_will_tell(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    claimed(store)
    said = run("cancel", ID, "--json").json
    assert (said["state"], said["effect"], said["cancelled"]) == ("STARTED", "unknown", True)
    assert "A call is under way" in run("cancel", ID).out
