"""The gate with workers: bad days of the API, as the sandbox counts the calls."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks import Job, Webhook, enqueue_webhook, enqueue_webhooks
from tasks.states import ENDED
from tasks.store import get_store
from tests.conftest import FAST, SentrySink, eventually, use_environment
from tests.integration.test_gate_arithmetic import most_within
from worker.sandbox import SandboxControl
from worker.stack import Stack

Start = Callable[..., tuple[Stack, SandboxControl]]


@pytest.fixture
def start(sentry: SentrySink) -> Iterator[Start]:
    """A stack of the test's own with two workers and these settings."""
    stacks: list[Stack] = []

    def run(**changes: str) -> tuple[Stack, SandboxControl]:
        stack = Stack(**{**FAST, "SENTRY_DSN": sentry.dsn, **changes})
        stacks.append(stack)
        stack.start_redis()
        stack.start_sandbox()
        use_environment(stack.env)
        for name in ("w1", "w2"):
            stack.start_worker(name, "--concurrency", "8")
        for part in stack.parts[1:]:
            part.wait_for_line(" ready.")
        return stack, SandboxControl(stack.env["COMETCHAT_BASE_URL"])

    yield run
    for stack in stacks:
        stack.close()


def enqueue(app: str, count: int) -> list[Job]:
    webhooks = ((f"{app}-{n}", orders()) for n in range(count))
    return [outcome.job for outcome in enqueue_webhooks(webhooks) if outcome.job]


URL = "https://shop.example.com/hook"


def orders() -> Webhook:
    return Webhook(id="orders", name="Orders", webhook_url=URL)


def times(sandbox: SandboxControl, since: float = 0.0) -> list[float]:
    return sorted(call["time"] for call in sandbox.calls(10_000) if call["time"] >= since)


@contextmanager
def away(sandbox: SandboxControl, **rule: object) -> Iterator[None]:
    sandbox.faults({"kind": "status", **rule})
    yield
    sandbox.faults()


def test_the_rate_of_the_settings_holds_for_all_workers(start: Start) -> None:
    _, sandbox = start(COMETCHAT_RATE_LIMIT="1500/m", COMETCHAT_RATE_SHARE="0.8")
    began = time.monotonic()
    for job in enqueue("paced", 60):
        assert job.wait(20).attempts == 1
    assert time.monotonic() - began < 60 / 20 * 1.5 + 2
    calls = times(sandbox)
    assert len(calls) == 60
    assert most_within(calls, 1.0) <= 20 + 3
    assert get_store().gate.look(ACCOUNT).allowed == pytest.approx(20)


def test_an_outage_costs_one_call_a_second_and_no_job(start: Start) -> None:
    stack, sandbox = start()
    with away(sandbox, status=503):
        jobs = enqueue("outage", 80)
        eventually(lambda: get_store().gate.look(ACCOUNT).closed == "unavailable")
        time.sleep(0.5)  # what was under way has ended
        closed = time.time()
        # The worker whose probe it may be dies; the other goes on.
        eventually(lambda: len(times(sandbox, closed)) >= 2)
        stack.parts[1].signal(signal.SIGKILL)
        eventually(lambda: len(times(sandbox, closed)) >= 5)
        during = times(sandbox, closed)
        assert most_within(during, 1.0) <= 2
        assert most_within(during, 3.0) <= 4
    assert {job.wait(45).state for job in jobs} == {"SUCCESS"}
    assert all(each["created_by_calls"] == 1 for each in sandbox.webhooks())
    assert len(sandbox.webhooks()) == 80
    assert get_store().gate.look(ACCOUNT).closed == ""


def test_a_refused_account_is_probed_and_goes_on_by_itself(
    start: Start, sentry: SentrySink
) -> None:
    stack, sandbox = start(GATE_PROBE_SECONDS="1.5")
    with away(sandbox, status=401, code="AUTH_ERR_INVALID_SECRET_KEY"):
        jobs = enqueue("refused", 40)
        eventually(lambda: get_store().gate.look(ACCOUNT).closed == "rejected")
        time.sleep(0.5)  # what was under way has ended
        closed = time.time()
        eventually(lambda: len(times(sandbox, closed)) >= 2)
        # Killed while the account is refused: all waits in Redis.
        stack.parts[1].signal(signal.SIGKILL)
        late = enqueue_webhook("refused-late", orders())
        assert most_within(times(sandbox, closed), 1.4) <= 1
    assert {job.wait(30).state for job in (*jobs, late)} == {"SUCCESS"}
    assert max(job.attempts for job in jobs) <= 2
    events = [e for e in sentry.events if e["tags"].get("app", "").startswith("refused-")]
    assert len(events) == 1


def test_a_pause_by_hand_stops_calls_until_it_is_over(start: Start) -> None:
    _, sandbox = start()
    gate = get_store().gate
    gate.pause(ACCOUNT, reason="maintenance")
    job = enqueue_webhook("paused", orders())
    with pytest.raises(TimeoutError):
        job.wait(2)
    assert times(sandbox) == []
    gate.resume(ACCOUNT)
    assert job.wait(5).state == "SUCCESS"
    assert job.attempts == 1


def test_one_refused_app_holds_up_no_other_and_ends(start: Start, sentry: SentrySink) -> None:
    """A firewall before the API answers with a page of its own, to this app alone."""
    _, sandbox = start(RETRY_MAX_ATTEMPTS="2", RETRY_MAX_AGE="1")
    sandbox.faults({"kind": "html", "status": 403, "app_id": "poison"})
    poison = [
        enqueue_webhook("poison", Webhook(id=f"p{n}", name="P", webhook_url=URL)) for n in range(3)
    ]
    eventually(lambda: [job for job in poison if job.refresh().history])

    for number in range(3):
        job = enqueue_webhook(f"quiet-{number}", orders())
        assert job.wait(5).state == "SUCCESS"
    until = time.monotonic() + 60
    while not all(job.refresh().state in ENDED for job in poison):
        assert time.monotonic() < until
        assert enqueue_webhook(f"quiet-{time.time()}".replace(".", "-"), orders()).wait(5)
        time.sleep(0.5)  # quiet traffic

    for job in poison:
        assert job.state == "FAILURE"
        assert (job.error or {})["class"] == "CallRefused"
        assert "key and secret are right" in str(job.error)
        assert "the web page '" in str(job.error)
        assert "COMETCHAT_KEY" not in str(job.error)
    assert not [
        e
        for e in sentry.events
        if e.get("fingerprint", [""])[0] == "account-rejected" and e["tags"]["app"] == "poison"
    ]
    assert get_store().gate.look(ACCOUNT).closed == ""


def test_one_app_on_which_the_api_breaks_holds_up_no_other(start: Start) -> None:
    _, sandbox = start()
    with away(sandbox, status=500, app_id="broken"):
        for number in range(12):
            enqueue_webhook("broken", Webhook(id=f"b{number}", name="B", webhook_url=URL))
        eventually(lambda: get_store().gate.look(ACCOUNT).only_app == "broken")
        for number in range(5):
            assert enqueue_webhook(f"fine-{number}", orders()).wait(5).state == "SUCCESS"
