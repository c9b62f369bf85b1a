"""How many connections to Redis a process has at once: threads wait for one another's.

A server has room for so many clients (`maxclients`), and managed ones often for few. redis-py's
pools grow to one a thread, and a worker has 64.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis

from tasks.bounded import seconds_left

#: For the steps of a worker's attempts. A step takes a millisecond.
ATTEMPTS: Final = 8
#: For whatever else a process asks: a producer's threads may each wait for a confirmation.
OTHERS: Final = 32
#: For results in Celery's result backend.
RESULTS: Final = 4

#: A worker's connections at most, whatever its --concurrency, if broker and results are in one
#: Redis: those of the attempts, of their results, and of its other threads and Celery.
OF_A_WORKER: Final = ATTEMPTS + RESULTS + 17

#: Seconds to wait for one.
WAIT_SECONDS: Final = 3.0


class AllInUse(redis.ConnectionError):
    """No connection became free in time."""


class Slots:
    """Room for so many connections.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def one(self, seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Have one for this block. Raises `AllInUse` after so many seconds."""
        if not self._free.acquire(timeout=max(0.0, min(seconds, seconds_left()))):
            raise AllInUse(f"all {self._most} connections of this process are in use")
        try:
            yield
        finally:
            self._free.release()
