"""`python -m tasks check`: what it says, and no false alarm beside busy workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks import enqueue_webhooks
from tasks.repair import KINDS, Problem, find_problems
from tests.conftest import FAST, use_environment
from tests.integration.commands import Run, run_fixture
from tests.integration.damage import Damaged, damaged_fixture
from worker.sandbox import SandboxControl
from worker.stack import Stack

run = run_fixture
damaged = damaged_fixture

# -- the command --------------------------------------------------------------------------------


def test_the_command_reports_mends_and_exits(run: Run, damaged: Damaged) -> None:
    assert run("check") == (0, "", "Nothing to repair.\n")
    damaged.take("waiting", damaged.waiting)

    said = run("check")
    assert (said.code, said.err) == (1, "1 found. --repair mends what can be mended.\n")
    words = "is not where it belongs: PENDING in no set (--repair puts it there"
    assert said.out.startswith(f"job {damaged.waiting} {words}")
    assert run("check", "--json").json == {
        "job_id": damaged.waiting,
        "kind": "misplaced",
        "problem": "is not where it belongs: PENDING in no set",
        "remedy": KINDS["misplaced"][1],
        "mended": False,
    }

    damaged.client.set(damaged.key("text"), "x")
    said = run("check", "--repair")
    assert (said.code, said.err) == (1, "1 mended, 1 left.\n")
    damaged.client.delete(damaged.key("text"))
    damaged.take("waiting", damaged.waiting)
    assert run("check", "--repair", "--json").json["mended"] is True
    assert run("check", "--json") == (0, "", "Nothing to repair.\n")


# -- beside workers -----------------------------------------------------------------------------


@pytest.fixture
def busy() -> Iterator[Stack]:
    """Two workers whose calls fail now and then; killed ones leave their leases behind."""
    with Stack(**FAST, PIPE_SIZE="64") as stack:
        stack.start_redis()
        stack.start_sandbox()
        use_environment(stack.env)
        for name in ("one", "two"):
            worker = stack.start_worker(name)
            worker.wait_for(lambda worker=worker: " ready." in worker.output())  # type: ignore[misc]
        yield stack


def test_no_false_alarm_beside_busy_workers(busy: Stack) -> None:
    sandbox = SandboxControl(busy.env["COMETCHAT_BASE_URL"])
    sandbox.settings(latency=0.005)
    sandbox.faults({"operation": "create", "kind": "status", "status": 503, "rate": 0.2})
    items = [
        (f"shop-{n}", {"id": "a", "name": "A", "webhookURL": "https://a.example/"})
        for n in range(250)
    ]
    done = threading.Event()

    def look() -> tuple[int, list[Problem]]:
        looks, alarms = 0, list[Problem]()
        while not done.is_set():
            alarms += find_problems(repair=looks % 2 == 1)
            looks += 1
        return looks, alarms

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look)
        try:
            jobs = [one.job for one in enqueue_webhooks(items) if one.job]
            busy.parts[-1].kill()
            states = {job.wait(90).state for job in jobs}
        finally:
            done.set()
        looks, alarms = looking.result()
    assert alarms == []
    assert looks > 4
    assert list(find_problems()) == []
    assert states <= {"SUCCESS", "FAILURE"}
    assert all(one["created_by_calls"] == 1 for one in sandbox.webhooks())
