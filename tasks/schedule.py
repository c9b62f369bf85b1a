"""What beat asks for: nothing that a job's way needs, so a missing beat loses nothing."""

from __future__ import annotations

import structlog
from celery import Task

from config.celery_app import app
from config.settings import get_settings
from tasks import errors
from tasks.failed import take_up
from tasks.jobs import JobStore, slices
from tasks.store import WORKER_PATIENCE, get_store

log = structlog.get_logger("tasks")

#: Failures that time may mend. The others want a person.
MAY_SUCCEED_LATER = frozenset(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ApiFailure) and kind.transient
)

#: Seconds between two rounds, well below beat's own. Messages of beat's that had to wait for a
#: worker, or that two beats have sent, begin no further one; nor do they expire, as that would
#: be judged by two clocks that may differ.
RETRY_FAILED_SECONDS = 10 * 60
PRUNE_SECONDS = 60 * 60


@app.task(name="tasks.retry_failed", bind=True, throws=(errors.StoreUnavailable,))
def retry_failed(self: Task, *_: object, **__: object) -> int:
    """Give each failed job that may succeed by now one more attempt; how many there were.

    One that a person cancelled during its last attempt gets none, nor one whose time is over, nor
    one that a later job of its webhook follows: a create would come back after its delete.
    """
    store = get_store(WORKER_PATIENCE)
    if not _is_time(self, store, RETRY_FAILED_SECONDS):
        return 0
    now = store.clock()
    oldest = now - get_settings().retry_failed_max_age
    ids = [
        job.id
        for job in store.walk("failed")
        if (job.error or {}).get("class") in MAY_SUCCEED_LATER
        and not job.cancelled
        and job.followed_by is None
        and not job.is_expired(now)
        and (job.first_attempt_at or job.created_at) >= oldest
    ]
    for some in slices(ids):
        take_up(store, some, how="once")
    log.info("retry_failed", jobs=len(ids))
    return len(ids)


@app.task(name="tasks.prune", bind=True, throws=(errors.StoreUnavailable,))
def prune(self: Task, *_: object, **__: object) -> int:
    """Delete failed jobs past FAILED_TTL and what is left of expired ones; how many."""
    store = get_store(WORKER_PATIENCE)
    if not _is_time(self, store, PRUNE_SECONDS):
        return 0
    gone = store.prune(failed_ttl=get_settings().failed_ttl)
    log.info("prune", jobs=gone)
    return gone


def _is_time(task: Task, store: JobStore, seconds: float) -> bool:
    """Whether a round may begin; one that is called for within this process always may."""
    return task.request.called_directly or store.begin_round(task.name, seconds)
