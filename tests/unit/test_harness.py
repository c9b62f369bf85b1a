"""The chaos harness notices what it is there for: each breakage turns the verdict red."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import tests.chaos.harness
import tests.chaos.run
from tests.chaos.harness import Chaos
from tests.chaos.producer import Ledger
from tests.chaos.registry import Scenario
from tests.chaos.report import Report
from tests.chaos.watch import Watch
from tests.unit.found import KEYS, ONE, Found, record
from worker.stack import Part


@pytest.fixture
def found() -> Found:
    return Found()


# --- a run ---


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch, found: Found) -> Iterator[Chaos]:
    """A run with nothing started: what the sandbox and Redis say is `found`."""
    chaos = Chaos("test", 1, long=False)
    chaos.ledger = found.ledger
    calls = {"create": 4}
    sandbox: Any = SimpleNamespace(
        state=lambda: {"webhooks": found.webhooks, "calls_by_operation": calls}
    )
    chaos.sandbox = sandbox
    monkeypatch.setattr(chaos, "records", lambda: found.records)
    monkeypatch.setattr("tasks.repair.find_problems", lambda repair: [])
    yield chaos
    chaos.close()


def test_judging_fills_the_report(chaos: Chaos, found: Found) -> None:
    chaos.judge()
    assert chaos.report.is_good
    assert chaos.report.jobs == 3
    found.never_created(ONE)
    found.webhooks[0]["created_by_calls"] = 2
    chaos.judge()
    assert not chaos.report.is_good
    assert (chaos.report.lost, chaos.report.doubled) == (1, 1)


def test_other_problems_of_the_verdict_are_told(chaos: Chaos, found: Found) -> None:
    found.webhooks[0]["name"] = "something else"
    chaos.judge()
    assert not chaos.report.is_good


def test_redis_out_of_order(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tasks.repair.find_problems", lambda repair: [SimpleNamespace(kind="misplaced")]
    )
    chaos.judge()
    assert "1 things to repair" in chaos.report.problems[0]


def test_a_call_without_an_attempt(chaos: Chaos, found: Found) -> None:
    server: Any = SimpleNamespace(part=object(), end=lambda: None)
    chaos.stack.redis, chaos._remembers = server, server.part
    found.records = {key: record(key, attempt=1) for key in KEYS} | {ONE: record(ONE, attempt=2)}
    chaos.judge()
    assert chaos.report.problems == []
    found.records[ONE] = record(ONE, attempt=1)
    chaos.judge()
    assert chaos.report.problems == ["4 creates in 3 attempts"]


def test_a_redis_that_was_killed_may_have_forgotten_attempts(chaos: Chaos, found: Found) -> None:
    server: Any = SimpleNamespace(part=object(), end=lambda: None)
    chaos.stack.redis, chaos._remembers = server, None
    chaos.judge()
    assert chaos.report.problems == []


def test_jobs_that_do_not_end_in_time(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.chaos.harness, "pending", lambda: 1)
    chaos.drain(0.05)
    assert "all jobs ended: not within" in chaos.report.problems[0]


def test_the_first_job_after_a_fault() -> None:
    watch = Watch(threading.Event())
    watch.effects = [(1.0, 5), (2.0, 6), (3.0, 6), (9.0, 7)]
    watch.marks = [1.5, 2.5]
    assert watch.first_after() == 6.5


# --- workers ---

READY = "import signal, time; print(' ready.', flush=True); "
LIVES = "import time; time.sleep(60)"
STOPS_CLEANLY = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('Warm shutdown'), sys.exit(0)))\n"
    "print(' ready.', flush=True); time.sleep(60)"
)
IGNORES_IT = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(' ready.', flush=True); time.sleep(60)"
)


@pytest.fixture
def worker(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Part]:
    """Starts what stands for a worker: a process with this code."""
    code = [""]
    monkeypatch.setattr(
        chaos.stack, "start_worker", lambda name, *_: chaos.stack.run(name, "-c", code[0])
    )

    def start(wanted: str) -> Part:
        code[0] = wanted
        return chaos.worker(wait="ready" in wanted)

    return start


def test_workers_that_stop_as_told(chaos: Chaos, worker: Callable[[str], Part]) -> None:
    worker(STOPS_CLEANLY)
    worker(STOPS_CLEANLY).stop()
    chaos.kill(worker(LIVES))
    worker(LIVES)  # told to stop before it was ready
    chaos.stop_workers()
    assert chaos.report.problems == []


@pytest.mark.parametrize("code", [0, 1, 42])
def test_a_worker_that_ended_by_itself(
    chaos: Chaos, worker: Callable[[str], Part], code: int
) -> None:
    worker(f"raise SystemExit({code})").process.wait(10)
    chaos.stop_workers()
    assert "w1 ended by itself" in chaos.report.problems[0]


def test_a_worker_that_crashes_when_it_is_told_to_stop(
    chaos: Chaos, worker: Callable[[str], Part]
) -> None:
    worker(READY + LIVES)
    chaos.stop_workers()
    assert "w1 did not stop, exit code -15" in chaos.report.problems[0]


def test_a_worker_that_does_not_stop(
    chaos: Chaos, worker: Callable[[str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.chaos.harness, "STOPS", 0.1)
    part = worker(IGNORES_IT)
    chaos.stop_workers()
    assert "w1 did not stop, exit code None" in chaos.report.problems[0]
    part.kill()


def test_a_worker_that_was_dead_before_it_was_killed(
    chaos: Chaos, worker: Callable[[str], Part]
) -> None:
    part = worker("raise SystemExit(1)")
    part.process.wait(10)
    chaos.kill(part)
    assert "had ended before it was killed" in chaos.report.problems[0]


def test_a_fault_of_the_program_in_a_workers_log(
    chaos: Chaos, worker: Callable[[str], Part]
) -> None:
    worker(f"print({json.dumps({'event': 'bug'})!r});" + STOPS_CLEANLY)
    chaos.stop_workers()
    assert "faults of the program" in chaos.report.problems[0]


# --- one run as a process ---


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], play: Any
) -> tuple[int, Report]:
    one = Scenario("play", "a fault", play, heavy=False, seeds=None)
    monkeypatch.setattr(tests.chaos.run, "scenario_of", {"play": one}.__getitem__)
    code = tests.chaos.run.main("play", "7", "short")
    return code, Report.read(capsys.readouterr().out.splitlines()[-1])


def good(chaos: Chaos, found: Found) -> None:
    found.ledger, chaos.ledger = chaos.ledger, found.ledger
    chaos.sandbox = SimpleNamespace(state=lambda: {"webhooks": found.webhooks})  # type: ignore[assignment]
    chaos.records = lambda: found.records  # type: ignore[method-assign]


def test_a_good_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Found
) -> None:
    monkeypatch.setattr("tasks.repair.find_problems", lambda repair: [])
    code, report = run(monkeypatch, capsys, lambda chaos: good(chaos, found))
    assert (code, report.name, report.seed, report.jobs) == (0, "play", 7, 3)
    assert report.is_good


def test_a_run_that_loses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Found
) -> None:
    monkeypatch.setattr("tasks.repair.find_problems", lambda repair: [])
    found.never_created(ONE)
    code, report = run(monkeypatch, capsys, lambda chaos: good(chaos, found))
    assert (code, report.lost) == (1, 1)


def test_a_run_in_which_nothing_was_enqueued(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Found
) -> None:
    monkeypatch.setattr("tasks.repair.find_problems", lambda repair: [])
    found.ledger, found.webhooks, found.records = Ledger(), [], {}
    code, report = run(monkeypatch, capsys, lambda chaos: good(chaos, found))
    assert code == 1
    assert "nothing was shown" in report.problems[0]


def test_a_run_that_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(_: Chaos) -> None:
        raise RuntimeError("it cannot")

    code, report = run(monkeypatch, capsys, crash)
    assert (code, report.problems) == (1, ["RuntimeError: it cannot"])


def test_a_run_whose_worker_died(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Found
) -> None:
    monkeypatch.setattr("tasks.repair.find_problems", lambda repair: [])

    def play(chaos: Chaos) -> None:
        good(chaos, found)
        chaos._workers.append(chaos.stack.run("w1", "-c", "raise SystemExit(1)"))
        chaos._workers[0].process.wait(10)

    code, report = run(monkeypatch, capsys, play)
    assert code == 1
    assert "ended by itself" in report.problems[0]


def test_a_scenario_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert tests.chaos.run.main("play", "7", "short") == 1
    assert not Report.read(capsys.readouterr().out.splitlines()[-1]).is_good
