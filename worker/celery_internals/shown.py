"""What `celery inspect` and Flower see of a job that this worker has: what they see of any task."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from celery import signals
from celery.utils.saferepr import saferepr
from celery.worker import state

from tasks.pipe import TASK

#: Characters of a result that are shown, as Celery has it.
RESULT_MOST: Final = 1024


class Shown:
    """A job of which a hint was received, in the place of Celery's request.

    Args:
        job_id: which job.
        consumer: the worker's, whose dispatcher of events it has at the time.
    """

    def __init__(self, job_id: str, consumer: Any) -> None:
        self.id = self.root_id = job_id
        self.name = TASK
        self.hostname = consumer.hostname
        self._consumer = consumer
        self._began_at: float | None = None
        self._received_at = time.time()
        state.task_reserved(self)
        signals.task_received.send(sender=consumer, request=self)

    def began(self, attempts: int) -> None:
        """An attempt was claimed; so many were made, with this one."""
        self._began_at = time.time()
        state.task_accepted(self)
        self._send(
            "task-received",
            name=TASK,
            args=repr((self.id,)),
            kwargs="{}",
            root_id=self.id,
            parent_id=None,
            retries=attempts - 1,
            eta=None,
            expires=None,
        )
        self._send("task-started")

    def succeeded(self, result: Any) -> None:
        """With this result."""
        runtime = time.time() - (self._began_at or self._received_at)
        # Results are small, and Celery's own way to shorten them costs more than the event.
        self._send("task-succeeded", result=repr(result)[:RESULT_MOST], runtime=runtime)

    def retried(self, error: BaseException) -> None:
        """The job waits for another attempt."""
        self._send("task-retried", exception=saferepr(error), traceback=None)

    def failed(self, error: BaseException) -> None:
        """For good."""
        self._send("task-failed", exception=saferepr(error), traceback=None)

    def ended(self) -> None:
        """This worker has it no more."""
        state.task_ready(self, successful=False)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Asked by `celery inspect`."""
        return {
            "id": self.id,
            "name": TASK,
            "args": repr((self.id,)) if safe else [self.id],
            "kwargs": "{}" if safe else {},
            "type": TASK,
            "hostname": self.hostname,
            "time_start": self._began_at,
            "acknowledged": True,
            "delivery_info": {},
            "worker_pid": os.getpid(),
        }

    def _send(self, what: str, **fields: Any) -> None:
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None and dispatcher.enabled:
            dispatcher.send(what, uuid=self.id, **fields)
