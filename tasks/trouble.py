"""Says once that something is away, and once that it is back, however many ask for it meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from math import inf
from typing import Final

import redis

from tasks.refusals import shortly

log = logging.getLogger("tasks")

#: Seconds after which trouble that goes on is told again.
AGAIN_SECONDS: Final = 60.0


class Trouble:
    """One kind of trouble, of all threads.

    Args:
        what: what is not done, and what follows, as a log line begins.
        after: what the line says when it is over.
    """

    def __init__(self, what: str, after: str) -> None:
        self._what, self._after = what, after
        self._lock = threading.Lock()
        self._times = 0
        self._is_told = False
        self._quiet_until = -inf

    def met(self, error: BaseException) -> None:
        """Note a failure; its reason is in the log, once a minute at most."""
        with self._lock:
            self._times += 1
            now = time.monotonic()
            if now < self._quiet_until:
                return
            self._quiet_until, self._is_told = now + AGAIN_SECONDS, True
            times = f", {self._times} times by now" if self._times > 1 else ""
        log.warning("%s (%s)%s", self._what, _reason(error), times)

    def over(self) -> None:
        """Note a success."""
        if not self._is_told:  # as nearly always: no lock then
            return
        with self._lock:
            times, self._times = self._times, 0
            was_told, self._is_told = self._is_told, False
        if was_told:
            log.warning("%s, after %d failures", self._after, times)


def _reason(error: BaseException) -> str:
    """Redis's words; of other servers the kind of error, as its words may have anything in them."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, redis.RedisError):
            return shortly(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
