"""Workers that are killed while their account's gate is closed."""

from __future__ import annotations

import time

from config.accounts import DEFAULT
from tasks.record import job_id
from tasks.store import get_store
from tests.chaos.harness import TENTH, Chaos
from tests.chaos.registry import scenario
from worker.stack import Part

#: Seconds; the probes of an API that is away.
PROBE_SECONDS = 1.0


def _replace(chaos: Chaos, workers: list[Part], victim: int) -> None:
    """SIGKILL one of them, and start another one."""
    chaos.kill(workers[victim])
    workers[victim] = chaos.worker()


def _who_probes(chaos: Chaos, workers: list[Part]) -> int:
    """Whose call is held at the API."""
    [held] = chaos.sandbox.held()
    record = get_store().get(job_id(DEFAULT, held["app_id"], held["webhook_id"]))
    return [f"{part.name}@stack" for part in workers].index(str(record.worker).partition("/")[0])


def closed(account: str = DEFAULT) -> str:
    """Why an account's gate is closed for all; for one app alone, "for one"."""
    gate = get_store().gate.look(account)
    return "for one" if gate.only_app else gate.closed


def _killed_while_it_probes(chaos: Chaos, workers: list[Part], kills: int) -> None:
    """Each probe is held at the API, its effect done or not, and its worker is killed then."""
    chaos.sandbox.faults({"kind": "status", "status": 503})
    chaos.feed(chaos.size(60, 2_000))
    chaos.wait_for(lambda: closed() == "unavailable", 60, "the gate closes")
    for number in range(kills):
        when = ("before", "after")[number % 2]
        chaos.sandbox.faults(
            {"kind": "hold", "when": when, "operation": "create", "times": 1},
            {"kind": "status", "status": 503},
        )
        chaos.sandbox.wait_for_held(timeout=60)
        before = len(chaos.sandbox.calls(1_000_000))
        began = time.monotonic()
        _replace(chaos, workers, _who_probes(chaos, workers))
        chaos.sandbox.release()
        calls = len(chaos.sandbox.calls(1_000_000)) - before
        most = 2 + (time.monotonic() - began) / PROBE_SECONDS
        chaos.require(calls <= most, f"{calls} calls, at most {most:.0f} in this time")
    chaos.sandbox.faults(*TENTH)
    chaos.mark()
    chaos.wait_for(lambda: closed() == "", 30, "the gate opens")


def _killed_while_paused(chaos: Chaos, workers: list[Part], kills: int) -> None:
    """A person closes the gate with jobs under way; nothing is called until it is opened."""
    chaos.feed(chaos.size(60, 2_000))
    get_store().gate.pause(DEFAULT, reason="maintenance")
    for number in range(kills):
        _replace(chaos, workers, number % 2)
    chaos.feed(chaos.size(20, 500))
    # What was under way at the pause goes on to its end, or to its worker's.
    chaos.wait_for(lambda: get_store().counts()["running"] == 0, 60, "what was under way ends")
    before = len(chaos.sandbox.calls(1_000_000))
    _replace(chaos, workers, 0)
    calls = len(chaos.sandbox.calls(1_000_000)) - before
    chaos.require(calls == 0, f"{calls} calls while the gate was paused")
    chaos.require(closed() == "paused", f"the gate was closed by a person, and is {closed()!r}")
    get_store().gate.resume(DEFAULT)
    chaos.mark()


@scenario("SIGKILL of workers whose gate is paused, or probes an API that is away")
def gate_killed(chaos: Chaos) -> None:
    """A probe that died is followed by another; a pause outlives all workers."""
    kills = chaos.size(1, 10)
    chaos.start()
    workers = [chaos.worker(), chaos.worker()]
    _killed_while_it_probes(chaos, workers, kills)
    _killed_while_paused(chaos, workers, kills)
    chaos.drain(300)
