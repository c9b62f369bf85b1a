"""The clocks of a run: Redis's, and a worker's own, which stands still while that is suspended."""

from __future__ import annotations

import math
import time
import uuid
from pathlib import Path
from typing import Any, Final

from tests.interleaving.scheduler import Scheduler

#: Put before the steps by `tasks.steps.LIBRARY`, which joins names to its folder: so it is a path.
SHIM: Final = str(Path(__file__).parent / "clock")
#: Unix seconds at which each run begins: far ahead of the server's clock, by which no key may end.
BEGIN: Final = 4_000_000_000.0

_MOVE: Final = """
redis.call('MSET', 'clock:seconds', ARGV[1], 'clock:micros', ARGV[2])
local now = tonumber(ARGV[3])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', 'clock:ending', '-inf', ARGV[3])) do
  local at = redis.call('PEXPIRETIME', key)
  if at > 0 and at <= now then redis.call('DEL', key) end
  if at <= now then redis.call('ZREM', 'clock:ending', key) end
end
"""


class RedisClock:
    """Redis's clock, which the shim before each step reads."""

    def __init__(self, scheduler: Scheduler, client: Any) -> None:
        self._scheduler = scheduler
        self._move = client.register_script(_MOVE)
        self._shown = -1.0
        #: Seconds by which it was set forward, or back.
        self.skew = 0.0

    @property
    def now(self) -> float:
        """Unix seconds."""
        return BEGIN + self._scheduler.now + self.skew

    def show(self) -> None:
        """Let the server's next step see what time it is."""
        if self.now != self._shown:
            self._shown = self.now
            seconds, micros = self.parts()
            self._move(keys=(), args=(seconds, micros, math.floor(self.now * 1000)))

    def parts(self) -> tuple[int, int]:
        """What TIME answers."""
        micros = round(self.now * 1e6)
        return micros // 1_000_000, micros % 1_000_000


class LocalTime:
    """In the place of the module `time`: what the current actor's process sees."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return BEGIN + self._scheduler.now

    def monotonic(self) -> float:
        """Stands still while the machine is suspended, as Linux's does."""
        process: Any = self._scheduler.current.process
        return 1000.0 + self._scheduler.now - (process.slept if process else 0.0)

    perf_counter = monotonic

    def clock_gettime(self, clock: int) -> float:
        """CLOCK_BOOTTIME does not stand still."""
        if clock == getattr(time, "CLOCK_BOOTTIME", None):
            return 1000.0 + self._scheduler.now
        return self.monotonic() if clock == time.CLOCK_MONOTONIC else self.time()

    def sleep(self, seconds: float) -> None:
        self._scheduler.pause(seconds)


class Ids:
    """In the place of the module `uuid`: ids that are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(uuid, name)

    def uuid4(self) -> uuid.UUID:
        self._count += 1
        return uuid.uuid5(uuid.NAMESPACE_OID, str(self._count))
