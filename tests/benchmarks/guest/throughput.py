"""How many jobs a second four workers end, and what each costs: prints JSON, a reading a window.

`python -m tests.benchmarks.guest.throughput`, run from the program's folder or from a copy of it.
It says `warm` and waits for a line before it measures, so that two can do so at the same time.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.benchmarks.guest.world import World, world
from tests.chaos.gauges import processor_seconds

#: So many jobs wait at the beginning; those that are left at the end are not needed.
JOBS = 40_000
#: Seconds until all workers are warm, then how many windows of how many seconds are measured.
WARM, WINDOWS, SECONDS = 3.0, 12, 4.0


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


def measure() -> list[dict[str, float]]:
    """For each window jobs a second, Redis steps and milliseconds of processor time a job.

    Raises:
        RuntimeError: the jobs were over before the time was.
    """
    with world() as here:
        here.sandbox.settings(latency=0.0)
        here.enqueue(JOBS)
        here.start_workers()
        time.sleep(WARM)
        print("warm", flush=True)
        sys.stdin.readline()
        assert here.stack.redis is not None
        with redis.Redis.from_url(here.stack.redis.url, decode_responses=True) as client:
            began, readings = time.monotonic(), [read(here, client)]
            for number in range(1, WINDOWS + 1):
                time.sleep(max(began + number * SECONDS - time.monotonic(), 0.0))
                readings.append(read(here, client))
        if readings[-1].created >= JOBS - 1_000:
            raise RuntimeError(f"{JOBS} jobs are too few for this machine")
    return [of_window(*pair) for pair in pairwise(readings)]


def of_window(before: Reading, after: Reading) -> dict[str, float]:
    """What happened between two readings."""
    created = max(after.created - before.created, 1)
    return {
        "rate": created / (after.at - before.at),
        "steps": (after.steps - before.steps) / created,
        "processor_ms": 1000 * (after.processor - before.processor) / created,
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
