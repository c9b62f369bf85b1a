"""What a worker does with hints: as many attempts at once as it has threads.

A message has the ids of several jobs. It is acknowledged when the last of them is given to a
thread; two that are not may be here at once. A thread that is done takes the next id.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog
from celery.exceptions import Ignore, Retry

from tasks.create_webhook import attempt, claim
from tasks.errors import StoreUnavailable, WebhookJobError
from worker.memory import drop_traceback

log = structlog.get_logger("tasks")

#: Ids that have no thread after so many seconds go back, for other workers.
HOLD_SECONDS: Final = 1.0


class Shown(Protocol):
    """What others see of a job that the worker has."""

    id: str
    hostname: str

    def began(self, attempts: int) -> None:
        """It was claimed, for so many attempts with this one."""

    def succeeded(self, result: Any) -> None:
        """With this result."""

    def retried(self, error: BaseException) -> None:
        """It waits for another attempt."""

    def failed(self, error: BaseException) -> None:
        """For good."""

    def ended(self) -> None:
        """The worker has it no more."""


class _Message:
    """What is left to begin of a message.

    Args:
        jobs: those that it hints at.
        taken: called when the last of them is given to a thread.
    """

    def __init__(self, jobs: Sequence[Shown], taken: Callable[[], None]) -> None:
        self.jobs = deque(jobs)
        self.taken = taken
        self.came_at = time.monotonic()


class Attempts:
    """The attempts of this worker.

    Args:
        executor: its threads.
        most: how many of them.
        show: makes of an id what others see of that job.
    """

    def __init__(self, executor: Executor, most: int, show: Callable[[str], Shown]) -> None:
        self._executor = executor
        self._most = most
        self._show = show
        self._lock = threading.Lock()
        self._messages: deque[_Message] = deque()
        self._busy = 0
        self._has_ended = False

    def receive(self, ids: Sequence[str], taken: Callable[[], None]) -> None:
        """Begin attempts at these jobs as soon as there are threads.

        `taken` is called when the last of them is given to one.
        """
        message = _Message([self._show(job_id) for job_id in ids], taken)
        with self._lock:
            self._messages.append(message)
        self._begin()

    def give_back(self) -> list[str]:
        """The ids that have had no thread for too long: they are no more this worker's."""
        given: list[_Message] = []
        with self._lock:
            until = time.monotonic() - HOLD_SECONDS
            while self._messages and self._messages[0].came_at < until and not self._has_ended:
                given.append(self._messages.popleft())
        for message in given:
            message.taken()
            for job in message.jobs:
                job.ended()
        return [job.id for message in given for job in message.jobs]

    def stop(self) -> None:
        """Begin no more. A signal may call it, whatever its thread does: so it takes no lock."""
        self._has_ended = True

    def _begin(self) -> None:
        """Give free threads what to do."""
        while (job := self._next(free=True)) is not None:
            # Where the system has no thread left to start, another one takes it.
            with suppress(RuntimeError):
                self._executor.submit(self._work, job)

    def _work(self, job: Shown | None) -> None:
        """One attempt after the other, while there are any."""
        while job is not None:
            with suppress(Exception):  # of what tells of an attempt: the thread goes on
                self._attempt(job)
            job = self._next(free=False)

    def _next(self, *, free: bool) -> Shown | None:
        """The next job, for a thread that is `free` or for one that has just done with its own."""
        with self._lock:
            has_room = self._busy < self._most if free else True
            if not (self._messages and has_room) or self._has_ended:
                self._busy -= not free
                return None
            message = self._messages[0]
            job = message.jobs.popleft()
            self._busy += free
            if message.jobs:
                return job
            self._messages.popleft()
        message.taken()
        return job

    def _attempt(self, job: Shown) -> None:
        try:
            self._run(job)
        except Exception as error:
            log.error("attempt failed", job=job.id, exc_info=error)
            job.failed(error)
            drop_traceback(error)
        finally:
            job.ended()

    def _run(self, job: Shown) -> None:
        try:
            claimed = claim(job.id, job.hostname)
        except StoreUnavailable as error:  # it is hinted at again
            drop_traceback(error)
            return
        if claimed is None:
            return
        job.began(claimed.job.attempts)
        try:
            job.succeeded(attempt(claimed))
        except StoreUnavailable as error:
            job.retried(error)  # once its lease is over
            drop_traceback(error)
        except Retry as retry:
            job.retried(retry.exc or retry)
            drop_traceback(retry)
        except Ignore as nothing:
            drop_traceback(nothing)
        except WebhookJobError as error:
            job.failed(error)
            drop_traceback(error)
