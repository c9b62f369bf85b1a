"""A loop that must go on: its thread is replaced when it dies or hangs."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from tasks.jobs import JobStore
from tasks.store import get_store

log = structlog.get_logger("dispatcher")

#: A tick that takes so long hangs, if its loop does not say otherwise: commands to Redis give up
#: within 3 s.
HANG_SECONDS = 3.5
#: After each replacement the next one has twice as long, up to this: on a slow network too
#: somebody must get to the end of a tick.
HANG_MOST_SECONDS = 30.0
#: Threads of one loop that hang and cannot be ended; with so many it is not replaced again.
ABANDONED_MOST = 3
#: Between two ticks, however often a loop is woken.
LEAST_SECONDS = 0.05
#: After a tick that failed.
TROUBLE_SECONDS = 1.0
#: Seconds that a command which meets no Redis is tried again; the next tick does so anyway.
PATIENCE = 0.5

StillMine = Callable[[], bool]


class WatchedLoop(ABC):
    """Calls `tick` again and again, in a thread with connections of its own.

    `check` has the thread replaced once it died or hangs. A thread that wakes up after that finds
    itself replaced, and ends.

    Args:
        name: of the thread, and in the log.
        hang_seconds: a tick that takes so long hangs.
    """

    def __init__(self, name: str, *, hang_seconds: float = HANG_SECONDS) -> None:
        self._name = name
        self._hang_seconds = self._limit = hang_seconds
        self._stopped, self._woken = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._abandoned: list[threading.Thread] = []
        self._ticks = self._seen = 0
        self._quiet = 0.0
        self._in_tick = self._in_trouble = False

    @abstractmethod
    def tick(self, store: JobStore, still_mine: StillMine) -> float:
        """Do what is due, and say for how many seconds to sleep.

        `still_mine` is to be asked after whatever may hang: once it says no, another thread has
        taken over and the rest is its business.
        """

    def start(self) -> None:
        """Begin, in a new thread; one that was there before is superseded."""
        self._quiet = 0.0
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
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
        if self._thread is not None:
            self._thread.join(timeout)

    def check(self, seconds: float) -> None:
        """Replace the thread if it died or hangs; to be called every so many seconds.

        It is these calls that are counted, not time: a process that was frozen as a whole, or
        that gets no processor, has made none.
        """
        thread = self._thread
        if thread is None or self._stopped.is_set():
            return
        if self._ticks != self._seen or not self._in_tick:
            self._seen, self._quiet = self._ticks, 0.0
        self._quiet += seconds
        if not thread.is_alive():
            why = "died"
        elif self._quiet > self._limit:
            why = "hangs"
            self._abandoned = [old for old in self._abandoned if old.is_alive()]
            if len(self._abandoned) >= ABANDONED_MOST:
                return
            self._abandoned.append(thread)
            self._limit = max(self._limit, min(self._limit * 2, HANG_MOST_SECONDS))
        else:
            return
        self.start()
        log.warning("dispatcher replaced", loop=self._name, why=f"its thread {why}")

    def _run(self) -> None:
        me = threading.current_thread()

        def still_mine() -> bool:
            return self._thread is me and not self._stopped.is_set()

        store = get_store.__wrapped__(PATIENCE)
        while still_mine():
            self._woken.clear()
            began = time.monotonic()
            self._in_tick = True
            pause = self._try(store, still_mine)
            if self._thread is not me:
                return
            self._in_tick = False
            self._ticks += 1
            took = time.monotonic() - began
            self._limit = max(self._hang_seconds, min(self._limit, 2 * took))
            self._stopped.wait(pause if self._in_trouble else min(pause, LEAST_SECONDS))
            self._woken.wait(0 if self._in_trouble else max(0.0, pause - LEAST_SECONDS))

    def _try(self, store: JobStore, still_mine: StillMine) -> float:
        try:
            pause = self.tick(store, still_mine)
        except Exception as error:  # noqa: BLE001  jobs wait for this thread: it must go on
            if still_mine() and not self._in_trouble:
                self._in_trouble = True
                problem = f"{type(error).__name__}: {error}"
                log.warning("dispatcher waits", loop=self._name, problem=problem)
            return TROUBLE_SECONDS
        if self._in_trouble and still_mine():
            self._in_trouble = False
            log.info("dispatcher goes on", loop=self._name)
        return pause
