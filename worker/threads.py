"""The pool: threads, as a worker's jobs mostly wait for the network. There is no other."""

from __future__ import annotations

from typing import Any

from celery.concurrency import thread


class ThreadPool(thread.TaskPool):
    """Celery's pool of threads, of which none can be ended: what they run is handed back."""

    def terminate_job(self, pid: Any, signal: Any = None) -> None:
        """Let it go on; Celery's own raises."""
