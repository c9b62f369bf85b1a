"""Celery's consumer, and what a worker has received."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.consumer import Consumer
from redis.exceptions import NoPermissionError

from tasks.refusals import understand
from worker.attempts import Attempts
from worker.celery_internals.shown import Shown
from worker.celery_internals.transport import but_key_error
from worker.messages import foreign_task, job_ids, log_dropped, log_foreign, problem_with, strip

#: Seconds between attempts to reach a broker that is away. Celery's own grow to 30.
RECONNECT_FIRST, RECONNECT_MOST = 0.5, 2.0

#: Messages that a worker has before their jobs have threads: the next is at hand, the others are
#: for other workers.
PREFETCH = 2

#: The events of tasks are sent as one message, this often (seconds) or when there are so many.
#: Celery's own way costs a third of an attempt.
EVENTS_SECONDS, EVENTS_MOST = 0.2, 1_000

_log = get_logger(__name__)


class QuickConsumer(Consumer):
    """Celery's consumer (`worker_consumer`), back at work within seconds of its broker.

    A message that is broken, or for nobody here, is dropped with one line that has nothing of
    what is in it. Celery's own lines have all of it, and most of its errors end the worker.
    """

    #: What the worker does when it is to stop without waiting for what runs.
    on_cold_stop: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *args: Any, **options: Any) -> None:
        # Celery announces a new default at every reconnection, also to those who have set it, and
        # its log set-up, which is over by now, sees to it that it is heard.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        super().__init__(*args, **options)
        self.initial_prefetch_count = PREFETCH

    @cached_property
    def attempts(self) -> Attempts:
        """What begins attempts at the jobs of messages."""
        pool: Any = self.pool
        return Attempts(pool.executor, pool.limit, partial(Shown, consumer=self))

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again for ever; no setting has the pauses in between."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_FIRST,
            interval_step=RECONNECT_FIRST,
            interval_max=RECONNECT_MOST,
        )
        connected = super().ensure_connected(conn)
        self._flush_events()  # Celery keeps for the new connection what this one could not send
        return connected

    def register_with_event_loop(self, hub: Any) -> None:
        """Called at each connection, behind whose timers are forgotten."""
        super().register_with_event_loop(hub)
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = EVENTS_MOST
            hub.call_repeatedly(EVENTS_SECONDS, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """Called for each event: it waits for others."""

    def shutdown(self) -> None:
        """Called when the pool has ended: what the last attempts told is sent."""
        self._flush_events()
        super().shutdown()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say which right is missing, if that is why; Celery would say that the broker is lost."""
        if isinstance(exc, NoPermissionError):
            _log.error("%s", understand(exc).words)
        super().on_connection_error_after_connected(exc)

    def cancel_active_requests(self) -> None:
        """Called for a cold stop; threads cannot be cancelled, and what they run is handed back."""
        self.on_cold_stop()

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """Begin attempts at a message's jobs; Celery has the tasks of the schedule."""
        handle = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            if self._is_fit(message):
                try:
                    if ids := job_ids(message):
                        self.attempts.receive(ids, partial(self._is_taken, message))
                    else:
                        handle(message)
                except Exception as error:
                    if self._is_brokers(error):
                        raise
                    self._tell_fault(message, error)

        return on_task_received

    def _is_fit(self, message: Any) -> bool:
        """Whether it has the form of a hint or of a task of the schedule; then it has no more than
        that. Else it is dropped.
        """
        try:
            if foreign := foreign_task(message, self.app.tasks):
                log_foreign(foreign, message)
                self._reject(message)
                return False
            problem = problem_with(message)
            if problem is None:
                strip(message)
                return True
        except Exception as error:
            if self._is_brokers(error):
                raise
            self._drop(message, "cannot be read", error)
        else:
            self._drop(message, problem)
        return False

    def _is_brokers(self, error: Exception) -> bool:
        return isinstance(error, but_key_error(self.connection_errors + self.channel_errors))

    # What reaches Celery has the right form, so what Celery makes of it is no fault of its sender.

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Celery found no task in it."""
        self._tell_fault(message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Celery knows no such task."""
        self._tell_fault(message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Celery cannot make a request of it."""
        self._tell_fault(message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Celery cannot decode its body."""
        self._tell_fault(message, exc)

    def _tell_fault(self, message: Any, error: Exception | None = None) -> None:
        _log.error(
            "a fault of this worker: it drops a message; a hint is sent again", exc_info=error
        )
        self._reject(message)

    def _drop(self, message: Any, problem: str, error: Exception | None = None) -> None:
        log_dropped(problem, error, message)
        self._reject(message)

    def _is_taken(self, message: Any) -> None:
        # By the loop, which wakes for it, and then looks whether there is room for a message.
        self.call_soon(message.ack_log_error, _log, self.connection_errors)

    def _reject(self, message: Any) -> None:
        if not message.acknowledged:
            message.reject_log_error(_log, self.connection_errors)


def received_ids() -> list[str]:
    """The ids of the tasks that this worker has received and not ended, running or not.

    Celery's `worker.state` is what its own `inspect active` and `inspect reserved` read; they
    answer over the broker, which a worker that stops may have left already.
    """
    while True:
        try:
            # Celery forgets the reserved ones when the broker's connection ends; they do run.
            requests = (*state.reserved_requests, *state.active_requests)
            return list({request.id for request in requests})
        except RuntimeError:  # the set changed while it was read: read it again
            continue
