"""What beat asks for: nothing that a job's way needs, so a missing beat loses nothing."""

from __future__ import annotations

import structlog

from config.celery_app import app
from config.settings import get_settings
from tasks import errors
from tasks.jobs import slices
from tasks.outcome import retold
from tasks.store import WORKER_PATIENCE, get_store

log = structlog.get_logger("tasks")

#: Failures that time may mend. The others want a person.
MAY_SUCCEED_LATER = frozenset(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ApiFailure) and kind.transient
)


@app.task(name="tasks.retry_failed", throws=(errors.StoreUnavailable,))
def retry_failed() -> int:
    """Give each failed job that may succeed by now one more attempt; how many there were."""
    store = get_store(WORKER_PATIENCE)
    oldest = store.clock() - get_settings().retry_failed_max_age
    ids = [
        job.id
        for job in store.walk("failed")
        if (job.error or {}).get("class") in MAY_SUCCEED_LATER
        and (job.first_attempt_at or job.created_at) >= oldest
    ]
    for some in slices(ids):
        # First, as a worker may have a job at once.
        retold(some, "RETRY")
        store.retry(some, how="once")
    log.info("retry_failed", jobs=len(ids))
    return len(ids)


@app.task(name="tasks.prune", throws=(errors.StoreUnavailable,))
def prune() -> int:
    """Delete failed jobs past FAILED_TTL and what is left of expired ones; how many."""
    gone = get_store(WORKER_PATIENCE).prune(failed_ttl=get_settings().failed_ttl)
    log.info("prune", jobs=gone)
    return gone
