"""How many jobs a second four workers end, and what each costs: prints JSON.

`python -m tests.benchmarks.guest.throughput`, run from the program's folder or from a copy of it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.benchmarks.guest.world import World, world
from tests.chaos.gauges import processor_seconds

#: So many jobs wait at the beginning; those that are left at the end are not needed.
JOBS = 40_000
#: Seconds until all workers are warm, and those that are measured.
WARM, MEASURED = 3.0, 10.0


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


def measure() -> dict[str, float]:
    """Jobs a second, Redis steps for each, milliseconds of processor time for each.

    Raises:
        RuntimeError: the jobs were over before the time was.
    """
    with world() as here:
        here.sandbox.settings(latency=0.0)
        here.enqueue(JOBS)
        here.start_workers()
        time.sleep(WARM)
        assert here.stack.redis is not None
        with redis.Redis.from_url(here.stack.redis.url, decode_responses=True) as client:
            before = read(here, client)
            time.sleep(MEASURED)
            after = read(here, client)
        if after.created >= JOBS - 1_000:
            raise RuntimeError(f"{JOBS} jobs are too few for this machine")
    created = after.created - before.created
    return {
        "rate": created / (after.at - before.at),
        "steps": (after.steps - before.steps) / created,
        "processor_ms": 1000 * (after.processor - before.processor) / created,
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
