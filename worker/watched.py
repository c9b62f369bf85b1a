"""A loop that must go on: where it stands still, the worker ends, to be started anew."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Final

import structlog

from tasks.jobs import JobStore
from tasks.store import get_store

log = structlog.get_logger("dispatcher")

#: A loop that makes no step for so long has met what no limit of time ends, as each call that it
#: makes has one of seconds.
STILL_SECONDS: Final = 30.0
#: After a tick that failed.
TROUBLE_SECONDS: Final = 1.0
#: Seconds that a command which meets no Redis is tried again; the next tick does so anyway.
PATIENCE: Final = 0.5


class WatchedLoop(ABC):
    """Calls `tick` again and again, in a thread with connections of its own.

    Args:
        name: of the thread, and in the log.
        least: seconds between two ticks, for one that is woken often.
    """

    def __init__(self, name: str, *, least: float = 0.0) -> None:
        self.name = name
        self._least = least
        self._stopped, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._steps = self._seen = 0
        self._quiet = 0.0
        self._sleeps = self._in_trouble = False

    @abstractmethod
    def tick(self, store: JobStore) -> float:
        """Do what is due, and say for how many seconds to sleep.

        One that does many things calls `step` after each.
        """

    def start(self) -> None:
        """Begin, in a new thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let no tick begin any more."""
        self._stopped.set()
        self._woken.set()

    def wake(self) -> None:
        """Let the next tick begin soon, as there may be something to do."""
        self._woken.set()

    def join(self, timeout: float) -> None:
        """Wait until the last tick is over, for so many seconds at most."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def step(self) -> bool:
        """Say that it goes on; False if it is to stop."""
        self._steps += 1
        return not self._stopped.is_set()

    def problem(self, seconds: float) -> str | None:
        """What is wrong with it, if anything; to be asked every so many seconds.

        It is these calls that are counted, not time: a process that was frozen as a whole, or
        that gets no processor, has made none.
        """
        if self._stopped.is_set():
            return None
        if not self._thread.is_alive():
            return "died"
        if self._sleeps or self._steps != self._seen:
            self._seen, self._quiet = self._steps, 0.0
        self._quiet += seconds
        return "stands still" if self._quiet > STILL_SECONDS else None

    def _run(self) -> None:
        store = get_store.__wrapped__(PATIENCE)
        while self.step():
            self._woken.clear()
            pause = self._try(store)
            self._sleeps = True
            least = pause if self._in_trouble else min(pause, self._least)
            self._stopped.wait(least)
            self._woken.wait(pause - least)
            self._sleeps = False

    def _try(self, store: JobStore) -> float:
        try:
            pause = self.tick(store)
        except Exception as error:  # noqa: BLE001  jobs wait for this thread: it must go on
            if not (self._in_trouble or self._stopped.is_set()):
                self._in_trouble = True
                problem = f"{type(error).__name__}: {error}"
                log.warning("dispatcher waits", loop=self.name, problem=problem)
            return TROUBLE_SECONDS
        if self._in_trouble:
            self._in_trouble = False
            log.info("dispatcher goes on", loop=self.name)
        return pause
