"""The dispatcher: threads in every worker that keep the pipe filled and the leases alive.

It needs no leader and no beat, as each step is atomic: any number of dispatchers work side by
side, and one is enough. What each of its loops depends on may fail without the others: leases
and wake on the records alone, the pipe on the broker too, telling on the result backend and
Sentry. It also gives back what runs when the worker has been told to stop and the time for it is
over, and ends a worker in which a loop stands still.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from celery import bootsteps, signals

from config.settings import get_settings
from tasks.create_webhook import leaving
from tasks.errors import StoreUnavailable
from tasks.identity import identity
from tasks.jobs import LEASE_SECONDS, STEP_LIMIT, JobStore
from tasks.outcome import note_successes, tell_alarms, tell_now, tell_slow
from tasks.pipe import IDS, messages_in_queue, publish
from tasks.store import get_store
from worker.attempts import Attempts
from worker.celery_internals import received_ids
from worker.watched import WatchedLoop

log = structlog.get_logger("dispatcher")

#: A lease survives two renewals that fail.
RENEW_SECONDS = LEASE_SECONDS / 4
#: While there is a backlog, the pipe is topped up this often.
BUSY_SECONDS = 0.05
#: The pipe is looked after once in so many seconds at most, however often it is woken: new jobs
#: that come together go together.
NEW_SECONDS = 0.004
#: Seconds in one command that waits for a new job; an answer is waited for a little longer.
WAIT_SECONDS = 1.5
#: A job that becomes due is noticed after this at the latest.
IDLE_SECONDS = 1.0
#: Outcomes left untold are looked for this often.
TELL_SECONDS = 5.0
#: The loops are looked after this often.
CHECK_SECONDS = 0.25
#: A tick that is under way when the worker stops is waited for as long.
JOIN_SECONDS = 2.0
#: A worker out of time that cannot even give back its jobs is gone after this.
HAND_BACK_SECONDS = 3.0


class Leases(WatchedLoop):
    """Prolongs the leases of what this worker runs."""

    def __init__(self, worker: str) -> None:
        super().__init__("leases")
        self._worker = worker
        self._renewed_at = 0.0
        #: Of the attempts under way, those that take their time: (id, attempt).
        self.slow: frozenset[tuple[str, str]] = frozenset()

    def are_renewed(self) -> bool:
        """Whether none of this worker's leases can have ended."""
        return time.monotonic() - self._renewed_at < LEASE_SECONDS / 2

    def tick(self, store: JobStore) -> float:
        """Renew, and note which successes were told."""
        now = time.monotonic()
        if now - self._renewed_at >= RENEW_SECONDS:
            self.slow = frozenset(store.renew(self._worker, received_ids()))
            self._renewed_at = now
        note_successes(store)
        return RENEW_SECONDS / 3


class Pipe(WatchedLoop):
    """Tops the pipe up with what is due, and takes up what dead workers left."""

    def __init__(self, leases: Leases) -> None:
        super().__init__("pipe", least=NEW_SECONDS)
        self._leases = leases
        #: What this worker does with hints, once it runs.
        self.attempts: Attempts | None = None
        #: Whether jobs are due for which the pipe had no room.
        self.has_more = False
        #: Messages in the queue when the broker was asked last, as it is while there are hints.
        self._queued, self._asked_at = 0, -IDLE_SECONDS
        self._are_hints = True

    def tick(self, store: JobStore) -> float:
        """Publish what is due."""
        if self.attempts is not None:
            # What this worker has no threads for others may have.
            publish(self.attempts.give_back())
        if not self._are_hints:
            self._queued = 0
        elif time.monotonic() >= self._asked_at + IDLE_SECONDS:
            self._queued, self._asked_at = messages_in_queue(), time.monotonic()
        # After an outage the leases of this worker's own attempts may have ended: they come first,
        # or `take_due` would take its jobs for a dead worker's.
        if not self._leases.are_renewed():
            return BUSY_SECONDS
        due = store.take_due(queued=self._queued, batch=IDS)
        if not publish(due.hints):
            self._asked_at = -IDLE_SECONDS  # nothing more is taken until the broker is back
        self._are_hints = due.hinted > 0
        self.has_more = due.next_due == 0.0
        if self.has_more:
            return BUSY_SECONDS
        return min(IDLE_SECONDS, due.next_due or IDLE_SECONDS)


class Wake(WatchedLoop):
    """Waits for jobs that are due at once, and wakes the pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__("wake")
        self._pipe = pipe

    def tick(self, store: JobStore) -> float:
        """Wait."""
        if store.wait_for_due(WAIT_SECONDS):
            self._pipe.wake()
        return 0.0


class Telling(WatchedLoop):
    """Tells what nobody has told: what became of dead workers' jobs, and who takes long."""

    def __init__(self, leases: Leases) -> None:
        super().__init__("telling")
        self._leases = leases
        self._slow: frozenset[tuple[str, str]] = frozenset()
        self._tell_at = 0.0

    def tick(self, store: JobStore) -> float:
        """Most attempts are over before anybody could look: only slow ones are told as STARTED."""
        slow, known = self._leases.slow, self._slow
        self._slow = slow
        for job_id, _ in slow - known:
            if self.step():
                tell_slow(store, job_id)
        if time.monotonic() >= self._tell_at and self.step():
            tell_alarms(store, store.accounts)
            untold = store.take_untold()
            # If there may be more, they are not to wait.
            pause = TELL_SECONDS if len(untold) < STEP_LIMIT else 0.0
            self._tell_at = time.monotonic() + pause
            for job_id in untold:
                if self.step():
                    tell_now(store, job_id)
        return IDLE_SECONDS


class Dispatcher(bootsteps.StartStopStep):
    """Celery's bootstep: starts with the worker, ends when its pool has ended.

    One thread of it does nothing that could hang: it watches the loops, and the time that is left
    once the worker has been told to stop.
    """

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._worker = identity(str(worker.hostname))
        self._leases = leases = Leases(self._worker)
        self._pipe = Pipe(leases)
        self._wake = Wake(self._pipe)
        self._asking: tuple[WatchedLoop, ...] = (self._wake, self._pipe, Telling(leases))
        self._loops: tuple[WatchedLoop, ...] = (leases, *self._asking)
        self._ended = threading.Event()
        self._deadline: float | None = None
        self._watch = threading.Thread(target=self._supervise, name="dispatcher", daemon=True)

    def start(self, worker: Any) -> None:
        """Begin; the signals tell of the end, as bootsteps stop in an order of Celery's."""
        signals.worker_shutting_down.connect(self._on_told_to_stop, weak=False)
        signals.worker_shutdown.connect(self._on_stopped, weak=False)
        worker.consumer.on_cold_stop = self._on_cold_stop
        self._attempts = worker.consumer.attempts
        self._pipe.attempts = self._attempts
        # A received job is soon claimed, which makes room in the pipe.
        signals.task_received.connect(self._on_received, weak=False)
        for loop in self._loops:
            loop.start()
        self._watch.start()

    def close(self, worker: Any) -> None:
        """Called before the pool ends; `celery control shutdown` sends no signal that tells it."""
        self._on_told_to_stop()

    def _on_received(self, **_: Any) -> None:
        if self._pipe.has_more:
            self._pipe.wake()

    def _on_told_to_stop(self, **_: Any) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + get_settings().worker_shutdown_seconds
        self._attempts.stop()

    def _on_cold_stop(self) -> None:
        """Nobody waits for what runs: the thread that watches hands it back, and ends all."""
        self._deadline = time.monotonic()

    def _on_stopped(self, **_: Any) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        give_up = time.monotonic() + JOIN_SECONDS
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            if loop is not self._wake:  # it waits for Redis, and has nothing to lose
                loop.join(max(0.0, give_up - time.monotonic()))
        self._hand_back(received_ids())

    def _supervise(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            if self._deadline is not None:
                for loop in self._asking:
                    loop.stop()
                if time.monotonic() >= self._deadline:
                    self._exit_now(0)
            for loop in self._loops:
                if problem := loop.problem(CHECK_SECONDS):
                    self._exit_now(1, loop=loop.name, problem=problem)

    def _hand_back(self, ids: Sequence[str]) -> None:
        store = get_store.__wrapped__()
        try:
            note_successes(store)
            back = store.hand_back(self._worker, ids)
        except StoreUnavailable:
            log.warning("nothing handed back: the leases end by themselves")
        else:
            if back:
                log.info("handed back", jobs=back)

    def _exit_now(self, code: int, **why: str) -> None:
        """Leave although attempts run: threads cannot be ended, the process can."""
        self._ended.set()
        try:
            # Whatever hangs below. A system may have no thread left to start.
            with suppress(RuntimeError):
                threading.Timer(HAND_BACK_SECONDS, os._exit, (code,)).start()
            if why:
                log.critical("worker ends, start it anew", **why)
            self._give_all_back()
        finally:
            os._exit(code)

    def _give_all_back(self) -> None:
        self._attempts.stop()
        received = received_ids()
        # What was handed back others may call for at once.
        leaving.set()
        self._hand_back(received)
        log.warning("worker stops with attempts under way; others run them again")
        # Those that were told as STARTED wait again; nobody else may be there to tell it.
        for job_id, _ in self._leases.slow:
            tell_now(get_store(), job_id)
        signals.worker_shutdown.send(sender=None)
        logging.shutdown()
