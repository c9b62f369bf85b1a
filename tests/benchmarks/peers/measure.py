"""One contestant's run: its jobs are enqueued, then its worker does them, or both at a time."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.peers.contestants import APPS, OTHERS_CORE, WORKERS_CORE, Contestant
from worker.sandbox import SandboxControl
from worker.stack import ROOT, Part, Stack

#: Jobs in which a worker warms up.
WARM: Final = 300
#: Seconds that anything may take.
LONGEST: Final = 600.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Figures:
    """What a run was like; times of processors in milliseconds a job."""

    jobs_per_second: float = 0.0
    worker: float = 0.0
    redis: float = 0.0
    #: Enqueueing, of one job: milliseconds, the middle and the 99th of a hundred.
    enqueue_p50: float = 0.0
    enqueue_p99: float = 0.0


def drain(contestant: Contestant, *, jobs: int, latency: float) -> Figures:
    """A backlog, done as fast as the worker can.

    Args:
        contestant: whose worker.
        jobs: how many, besides those in which it warms up.
        latency: seconds that the API takes.
    """
    jobs = max(jobs * contestant.at_once // 64, 60)
    warm = min(WARM, jobs)
    with _bench(contestant, latency) as bench:
        before = bench.redis_seconds()
        took = bench.produce(warm + jobs, rate=0.0)
        enqueued = bench.redis_seconds() - before
        worker = bench.start_worker()
        bench.control.wait_for_effects(warm, timeout=LONGEST)
        began, of_worker, of_redis = time.monotonic(), _seconds(worker), bench.redis_seconds()
        bench.control.wait_for_effects(warm + jobs, timeout=LONGEST)
        seconds = time.monotonic() - began
        time.sleep(0.5)  # what it has to do behind its calls
        return Figures(
            jobs_per_second=jobs / seconds,
            worker=1_000 * (_seconds(worker) - of_worker) / jobs,
            redis=1_000 * ((bench.redis_seconds() - of_redis) / jobs + enqueued / (warm + jobs)),
            enqueue_p50=1_000 * statistics.median(took),
            enqueue_p99=1_000 * statistics.quantiles(took, n=100)[98],
        )


def trickle(contestant: Contestant, *, jobs: int, rate: float, latency: float) -> Figures:
    """Single jobs, so many a second."""
    with _bench(contestant, latency) as bench:
        worker = bench.start_worker()
        bench.produce(WARM, rate=rate)
        bench.control.wait_for_effects(WARM, timeout=LONGEST)
        of_worker, of_redis = _seconds(worker), bench.redis_seconds()
        bench.produce(jobs, rate=rate, first=WARM)
        bench.control.wait_for_effects(WARM + jobs, timeout=LONGEST)
        time.sleep(0.5)
        return Figures(
            worker=1_000 * (_seconds(worker) - of_worker) / jobs,
            redis=1_000 * (bench.redis_seconds() - of_redis) / jobs,
        )


class _Bench:
    """A Redis and a sandbox of their own, both on the core that the worker has not."""

    def __init__(self, stack: Stack, contestant: Contestant) -> None:
        self._stack, self._contestant = stack, contestant
        self._redis = stack.start_redis("--appendonly", "yes", "--appendfsync", "everysec")
        api = stack.start_sandbox()
        self.control = SandboxControl(api)
        ours = {"PYTHONPATH": os.pathsep.join((str(APPS), str(ROOT)))}
        self._env = {**stack.env, **ours, "BENCH_REDIS_URL": stack.env["REDIS_URL"]}
        self._env["BENCH_API_URL"] = api
        for part in stack.parts:
            os.sched_setaffinity(part.process.pid, {OTHERS_CORE})

    def redis_seconds(self) -> float:
        """Seconds of a processor that Redis has used."""
        return _seconds(self._redis.part)

    def start_worker(self) -> Part:
        """Start it on the core of its own."""
        return self._run("bench", self._contestant.worker, WORKERS_CORE)

    def produce(self, count: int, *, rate: float, first: int = 0) -> list[float]:
        """Enqueue so many; seconds that each took."""
        asked = (self._contestant.module, str(count), str(rate), str(first))
        command = (self._contestant.python, str(APPS / "produce.py"), *asked)
        part = self._run(f"producer-{first}", command, OTHERS_CORE)
        if part.process.wait(LONGEST):
            raise RuntimeError(part.output())
        took: list[float] = json.loads(part.output().splitlines()[-1])
        return took

    def _run(self, name: str, command: tuple[str, ...] | list[str], core: int) -> Part:
        pinned = self._contestant.pinned(command, core)
        cwd = ROOT if self._contestant.module == "on_ours" else APPS
        part = Part(name, pinned, self._stack.folder, self._env, cwd=cwd)
        self._stack.parts.append(part)
        return part


@contextmanager
def _bench(contestant: Contestant, latency: float) -> Iterator[_Bench]:
    with Stack() as stack:
        bench = _Bench(stack, contestant)
        bench.control.settings(latency=latency)
        yield bench


def _seconds(part: Part) -> float:
    """Seconds of a processor that a process and all below it have used."""
    parents: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(stat.parent.name)] = int(words[1]), sum(map(int, words[11:15])) / _TICKS
    family, total = {part.process.pid}, 0.0
    while family:
        total += sum(parents[pid][1] for pid in family if pid in parents)
        family = {pid for pid, (parent, _) in parents.items() if parent in family}
    return total
