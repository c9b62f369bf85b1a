"""The dispatcher: a thread in every worker that keeps the pipe filled and the leases alive.

It needs no leader and no beat, as each step is atomic: any number of dispatchers work side by
side, and one is enough. It also tells the outcomes that a dead worker left untold, and gives
back what runs when the worker has been told to stop and the time for it is over.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import structlog
from billiard import active_children
from celery import bootsteps, signals

from config.settings import get_settings
from tasks.errors import StoreUnavailable
from tasks.jobs import LEASE_SECONDS
from tasks.outcome import note_successes, tell_outcome, tell_slow
from tasks.pipe import messages_in_queue, publish
from tasks.store import get_store
from worker.celery_internals import received_ids

log = structlog.get_logger("dispatcher")

#: A lease survives two renewals that fail.
RENEW_SECONDS = LEASE_SECONDS / 4
#: While there is a backlog, the pipe is topped up this often.
BUSY_SECONDS = 0.05
#: A job that becomes due is noticed after this at the latest.
IDLE_SECONDS = 1.0
#: Outcomes left untold are looked for this often.
TELL_SECONDS = 5.0


class Dispatcher(bootsteps.StartStopStep):
    """Celery's bootstep: starts with the worker, ends when its pool has ended."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._worker = worker
        self._store = get_store()
        self._stopped = threading.Event()
        self._deadline: float | None = None
        self._renew_at = self._tell_at = 0.0
        self._slow: set[tuple[str, str]] = set()
        self._in_trouble = False
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self, worker: Any) -> None:
        """Begin; the signals tell of the end, as bootsteps stop in an order of Celery's."""
        signals.worker_shutting_down.connect(self._on_told_to_stop, weak=False)
        signals.worker_shutdown.connect(self._on_stopped, weak=False)
        self._thread.start()

    def _on_told_to_stop(self, **_: Any) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + get_settings().worker_shutdown_seconds

    def _on_stopped(self, **_: Any) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)
        self._hand_back()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                pause = self._tick()
                if self._in_trouble:
                    log.info("dispatcher goes on")
                self._in_trouble = False
            except Exception as error:  # noqa: BLE001  jobs wait for this thread: it must go on
                pause = IDLE_SECONDS
                if not self._in_trouble:
                    log.warning("dispatcher waits", problem=f"{type(error).__name__}: {error}")
                self._in_trouble = True
            self._stopped.wait(pause)

    def _tick(self) -> float:
        """Do what is due, and say for how many seconds to sleep."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._exit_now()
        if now >= self._renew_at:
            self._tell_slow(self._store.renew(self._worker.hostname, received_ids()))
            self._renew_at = now + RENEW_SECONDS
        note_successes(self._store)
        if self._deadline is not None:
            return BUSY_SECONDS
        if now >= self._tell_at:
            for job in self._store.take_untold():
                tell_outcome(self._store, job)
            self._tell_at = now + TELL_SECONDS
        due = self._store.take_due(queued=messages_in_queue())
        publish(due.hints)
        if due.hints or due.next_due == 0.0:
            return BUSY_SECONDS
        return min(IDLE_SECONDS, due.next_due or IDLE_SECONDS)

    def _tell_slow(self, slow: set[tuple[str, str]]) -> None:
        """Most attempts are over before anybody could look: only slow ones are told as STARTED."""
        for job_id, _ in slow - self._slow:
            tell_slow(self._store, job_id)
        self._slow = slow

    def _hand_back(self) -> None:
        try:
            note_successes(self._store)
            back = self._store.hand_back(self._worker.hostname, received_ids())
        except StoreUnavailable:
            log.warning("nothing handed back: the leases end by themselves")
        else:
            if back:
                log.info("handed back", jobs=back)

    def _exit_now(self) -> None:
        """Leave although attempts run: threads cannot be ended, the process can."""
        self._hand_back()
        log.warning("worker stops with attempts under way; others run them again")
        for child in active_children():
            child.terminate()
        signals.worker_shutdown.send(sender=None)
        logging.shutdown()
        os._exit(0)
