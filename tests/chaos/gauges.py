"""What a run measures besides its jobs: workers' memory and time, messages, the queue's length."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from config.broker import QUEUE
from worker.stack import Part

MIB = 1024.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def memory(part: Part) -> float:
    """Resident memory of a process, in MiB; only Linux tells."""
    status = Path(f"/proc/{part.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / MIB


def processor_seconds(part: Part) -> float:
    """Seconds of processor time that a process has used, in its threads and for the kernel."""
    fields = Path(f"/proc/{part.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


class Gauges:
    """Looks every now and then, in a thread of its own, until the block is left.

    Args:
        url: of the Redis that is broker and store.
        workers: whose memory is of interest.
    """

    def __init__(self, url: str, workers: Sequence[Part] = ()) -> None:
        self.redis = redis.Redis.from_url(url)
        #: The most messages that were in the queue at once.
        self.longest_queue = 0
        #: For each worker: (when, MiB).
        self.memory: dict[str, list[tuple[float, float]]] = {part.name: [] for part in workers}
        self._workers = workers
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def queued(self) -> int:
        """How many messages are in the queue."""
        length: int = self.redis.llen(QUEUE)
        return length

    def messages(self) -> int:
        """How many messages were ever sent: nothing else uses LPUSH, a wake is an RPUSH."""
        return int(self.redis.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0))

    def growth(self, name: str, since: float, until: float) -> float:
        """By how many MiB a worker's memory went beyond what it was at `since`."""
        inside = [mib for at, mib in self.memory[name] if since <= at <= until]
        return max(inside) - inside[0]

    def _run(self) -> None:
        while not self._over.wait(0.05):
            self.longest_queue = max(self.longest_queue, self.queued())
            for part in self._workers:
                with suppress(OSError, ValueError):  # it may have ended
                    self.memory[part.name].append((time.monotonic(), memory(part)))
