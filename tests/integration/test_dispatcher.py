"""A worker whose dispatcher hangs ends in time; one that was frozen as a whole just goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tasks import Webhook, enqueue_webhook
from tasks.jobs import LEASE_SECONDS
from tests.conftest import FAST, eventually, own_stack
from worker.sandbox import RunningSandbox, SandboxControl
from worker.stack import Stack

ORDERS = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")


@pytest.fixture
def own(lent_sandbox: RunningSandbox) -> Iterator[Stack]:
    """A stack of the test's own, whose attempts take longer than a stopping worker has."""
    slow = {**FAST, "COMETCHAT_READ_TIMEOUT": "60", "WORKER_SHUTDOWN_SECONDS": "2"}
    with own_stack(lent_sandbox, **slow) as stack:
        yield stack


@pytest.mark.parametrize(
    ("hangs", "state"),
    [("renew,take_due,take_untold", "RETRY"), ("hand_back", "STARTED")],
    ids=["every loop", "handing back"],
)
def test_told_to_stop_it_is_gone_in_time(own: Stack, hangs: str, state: str) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    loading = ("-I", "tests.chaos.saboteur")
    worker = own.start_worker("worker", *loading, SABOTAGE=f"hang:{hangs}")
    worker.wait_for_line(" ready.")
    sandbox.faults({"kind": "hold", "when": "after", "times": 1, "operation": "create"})
    job = enqueue_webhook("shop", ORDERS)
    sandbox.wait_for_held()
    eventually(lambda: job.refresh().state == "STARTED")
    for number in range(1, hangs.count(",") + 2):
        worker.signal(signal.SIGUSR2)
        if state == "RETRY":
            eventually(lambda: worker.output().count("sabotage: hang") == number)  # noqa: B023
    told = time.monotonic()
    assert worker.stop() == 0
    # Two seconds for the attempts, and five for handing back, should that hang too.
    assert time.monotonic() - told < (6 if state == "RETRY" else 12)
    assert ("sabotage: hang in hand_back" in worker.output()) == (state == "STARTED")
    assert job.refresh().state == state


def test_the_only_worker_frozen_for_longer_than_a_lease_keeps_what_it_runs(own: Stack) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    worker = own.start_worker()
    worker.wait_for_line(" ready.")
    sandbox.faults({"kind": "hold", "when": "after", "times": 1, "operation": "create"})
    job = enqueue_webhook("shop", ORDERS)
    sandbox.wait_for_held()
    worker.signal(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 1)  # the fault itself
    worker.signal(signal.SIGCONT)
    assert enqueue_webhook("other", ORDERS).wait(10).state == "SUCCESS"
    sandbox.release()
    assert job.wait(10).state == "SUCCESS"
    assert job.attempts == 1
    assert "worker ends" not in worker.output()


@pytest.mark.parametrize("how", ["die:take_due", "hang:renew"])
def test_one_whose_dispatcher_does_not_go_on_ends_and_another_runs_its_jobs(
    own: Stack, how: str
) -> None:
    sandbox = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    loading = ("-I", "tests.chaos.saboteur")
    worker = own.start_worker("worker", *loading, SABOTAGE=how, STILL_SECONDS="4")
    worker.wait_for_line(" ready.")
    sandbox.faults({"kind": "hold", "when": "after", "times": 1, "operation": "create"})
    job = enqueue_webhook("shop", ORDERS)
    sandbox.wait_for_held()
    worker.signal(signal.SIGUSR2)
    assert worker.process.wait(20) == 1
    assert '"event": "worker ends, start it anew"' in worker.output()
    own.start_worker("anew")
    assert job.wait(10).state == "SUCCESS"
    [kept] = sandbox.webhooks()
    assert kept["created_by_calls"] == 1
