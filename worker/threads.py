"""The pool: threads, as a worker's jobs mostly wait for the network. There is no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.concurrency import thread


class ThreadPool(thread.TaskPool):
    """Celery's pool of threads, of which none can be ended: what they run is handed back."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # One more than attempts have: beat's tasks must not wait until there is no job left.
        self.executor = ThreadPoolExecutor(max_workers=self.limit + 1)

    def terminate_job(self, pid: Any, signal: Any = None) -> None:
        """Let it go on; Celery's own raises."""
