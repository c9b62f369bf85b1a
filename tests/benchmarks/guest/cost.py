"""What the gate costs where there is no limit: the same workers with it and without, in turns.

The gate is out of the workers in every second period (see `switched`), and each pair of periods is
compared: what else the machine does hits both alike, and so does how fast these very processes
happen to be, which differs by 10% from start to start.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.benchmarks.guest.figures import Figure, least, middle, most
from tests.benchmarks.guest.switched import PERIOD
from tests.benchmarks.guest.world import World, say, sleep_until, world
from tests.chaos.gauges import processor_seconds

#: How often the workers are started anew, and how many pairs of periods are then measured.
STARTS, PAIRS = 4, 10
#: So many jobs wait at each start; those that are left at the end are not needed.
JOBS = 120_000
#: Seconds of a period that do not count: the pipe is as full as before, and other steps are loaded.
SETTLE = 1.9
#: At least so much of the throughput is left; so many steps more for each job.
LEFT, STEPS = 0.95, 1.0


class Reading(NamedTuple):
    """What had been used up to some moment."""

    at: float
    created: int
    steps: int
    processor: float


class Window(NamedTuple):
    """What happened between two readings: jobs a second, and what each job took."""

    rate: float
    steps: float
    processor_ms: float


def cost() -> list[Figure]:
    """Throughput and steps with the gate and without."""
    pairs = [pair for _ in range(STARTS) for pair in measured()]

    def median(name: str, which: int) -> float:
        return statistics.median(getattr(pair[which], name) for pair in pairs)

    def compared(name: str) -> float:
        return middle(getattr(one, name) / getattr(other, name) for one, other in pairs)

    return [
        least("throughput with the gate, of that without", compared("rate"), LEFT, "{:.1%}"),
        most("more Redis steps a job", median("steps", 0) - median("steps", 1), STEPS, "{:.2f}"),
        most("processor time a job, of that without", compared("processor_ms"), unit="{:.1%}"),
        least("jobs a second with the gate", median("rate", 0)),
        least("jobs a second without", median("rate", 1)),
    ]


def measured() -> list[tuple[Window, Window]]:
    """A window with the gate and one without, for each pair of periods after a start.

    Raises:
        RuntimeError: the jobs were over before the time was.
    """
    windows: tuple[list[Window], list[Window]] = [], []
    with world() as here:
        here.sandbox.settings(latency=0.0)
        here.enqueue(JOBS)
        here.start_workers(options=("-I", "tests.benchmarks.guest.switching"))
        assert here.stack.redis is not None
        with redis.Redis.from_url(here.stack.redis.url, decode_responses=True) as client:
            # The first pair of periods warms all up.
            first = 2 * int(time.time() / PERIOD / 2 + 2)
            for period in range(first, first + 2 * PAIRS):
                sleep_until(period * PERIOD + SETTLE)
                before = read(here, client)
                sleep_until((period + 1) * PERIOD - 0.1)
                after = read(here, client)
                windows[period % 2].append(between(before, after))
        if after.created >= JOBS - 1_000:
            raise RuntimeError(f"{JOBS} jobs are too few for this machine")
    say("; ".join(map(_words, windows)))
    return list(zip(*windows, strict=True))


def read(here: World, client: Any) -> Reading:
    """How it stands now; steps are round trips of the program's own, without the broker's."""
    stats = client.info("commandstats")
    steps = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("fcall",))
    assert here.stack.redis is not None
    parts = [*here.workers, here.stack.redis.part]
    used = sum(map(processor_seconds, parts)) if Path("/proc/self/stat").exists() else 0.0
    return Reading(time.monotonic(), here.sandbox.wait_for_effects(0, "create"), steps, used)


def between(before: Reading, after: Reading) -> Window:
    """What happened between two readings."""
    created = max(after.created - before.created, 1)
    return Window(
        rate=created / (after.at - before.at),
        steps=(after.steps - before.steps) / created,
        processor_ms=1000 * (after.processor - before.processor) / created,
    )


def _words(windows: list[Window]) -> str:
    rates = " ".join(f"{each.rate:.0f}" for each in windows)
    processor = statistics.median(each.processor_ms for each in windows)
    return f"{rates} jobs/s, {processor:.2f} ms a job"
