"""How many jobs a second four workers end, and what each costs.

`python -m tests.benchmarks.guest.throughput`, run from the program's folder or from a copy of it.
Once its workers are warm they are frozen, and it says `warm`. For each line that it reads they work
for a window, of which it prints a reading as JSON: two can take turns, each with all processors.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.benchmarks.guest.world import World, world
from tests.chaos.gauges import processor_seconds

#: So many jobs wait at the beginning; those that are left at the end are not needed.
JOBS = 20_000
#: Seconds until all workers are warm; of a window; until they work evenly after a freeze, which is
#: shorter than what a lease has left at least.
WARM, SECONDS, SETTLE = 3.0, 2.0, 0.4


class Reading(NamedTuple):
    """What had been used up to some moment."""

    at: float
    created: int
    steps: int
    processor: float


def read(here: World, client: Any) -> Reading:
    """How it stands now; steps are round trips of the program's own, without the broker's."""
    stats = client.info("commandstats")
    steps = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))
    assert here.stack.redis is not None
    parts = [*here.workers, here.stack.redis.part]
    used = sum(map(processor_seconds, parts)) if Path("/proc/self/stat").exists() else 0.0
    return Reading(time.monotonic(), here.sandbox.wait_for_effects(0, "create"), steps, used)


def measure() -> None:
    """For each line print jobs a second, Redis steps and milliseconds of processor time a job.

    Raises:
        RuntimeError: the jobs were over before the lines were.
    """
    with world() as here:
        here.sandbox.settings(latency=0.0)
        here.enqueue(JOBS)
        here.start_workers()
        time.sleep(WARM)
        signal_all(here, signal.SIGSTOP)
        print("warm", flush=True)
        try:
            for _ in sys.stdin:
                signal_all(here, signal.SIGCONT)
                time.sleep(SETTLE)
                window = watch(here)
                signal_all(here, signal.SIGSTOP)
                print(json.dumps(window), flush=True)
        finally:
            signal_all(here, signal.SIGCONT)  # or they would not end


def watch(here: World) -> dict[str, float]:
    """What happens in a window."""
    assert here.stack.redis is not None
    with redis.Redis.from_url(here.stack.redis.url, decode_responses=True) as client:
        before = read(here, client)
        time.sleep(SECONDS)
        after = read(here, client)
    if after.created >= JOBS - 1_000:
        raise RuntimeError(f"{JOBS} jobs are too few for this machine")
    return of_window(before, after)


def signal_all(here: World, number: signal.Signals) -> None:
    """Freeze the workers, or let them go on."""
    for worker in here.workers:
        worker.signal(number)


def of_window(before: Reading, after: Reading) -> dict[str, float]:
    """What happened between two readings."""
    created = max(after.created - before.created, 1)
    return {
        "rate": created / (after.at - before.at),
        "steps": (after.steps - before.steps) / created,
        "processor_ms": 1000 * (after.processor - before.processor) / created,
    }


if __name__ == "__main__":
    measure()
