"""What a person does about a job: cancel it, retry it, forget it, list them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tasks.errors import StepRefused
from tasks.job import Job
from tasks.jobs import slices
from tasks.outcome import retold, tell_outcome
from tasks.store import get_store


def cancel_job(job_id: str) -> Job:
    """Cancel a job that has not ended.

    Before the call this prevents it. During a call it is noted, and the job tells the truth when
    the call ends: SUCCESS or FAILURE, or REVOKED instead of another attempt.

    Raises:
        JobNotFound: there is no such job.
        StepRefused: it has ended already.
    """
    store = get_store()
    before = store.get(job_id)
    state = store.cancel(job_id)
    job = Job(store.get(job_id), store)
    if state == "REVOKED" and before.state != "REVOKED":
        tell_outcome(store, job.record)
    elif state not in {"STARTED", "REVOKED"}:
        raise StepRefused(f"Job {job_id} has ended ({state}) and cannot be cancelled.")
    return job


def retry_job(job_id: str) -> Job:
    """Take up a failed or cancelled job again, with all its attempts anew and its history kept.

    Raises:
        JobNotFound: there is no such job.
        StepRefused: it has not ended, or it succeeded.
    """
    store = get_store()
    before = store.get(job_id)
    if before.state not in {"FAILURE", "REVOKED"}:
        raise StepRefused(
            f"Job {job_id} is {before.state}; only a failed or cancelled one can be retried."
        )
    # First, as a worker may have the job at once.
    retold([job_id], "PENDING")
    store.retry([job_id], how="fresh")
    return Job(store.get(job_id), store)


def retry_all_failed() -> int:
    """Take up every failed job again; how many there were."""
    store = get_store()
    ids = [record.id for record in store.walk("failed")]
    for some in slices(ids):
        retold(some, "PENDING")
        store.retry(some, how="fresh")
    return len(ids)


def forget_job(job_id: str) -> None:
    """Delete the record of a job that has ended, so that its webhook can be enqueued anew.

    Raises:
        JobNotFound: there is no such job.
        StepRefused: it has not ended: cancel it first.
    """
    store = get_store()
    job = store.get(job_id)
    if not store.forget([job_id]):
        raise StepRefused(f"Job {job_id} is {job.state}; cancel it before it can be forgotten.")
    retold([job_id], "PENDING")


def list_jobs(
    *,
    state: str | None = None,
    app_id: str | None = None,
    failure: str | None = None,
    limit: int = 50,
) -> Iterator[Job]:
    """Jobs, newest first.

    Args:
        state: only those in this state.
        app_id: only those of this app.
        failure: only those whose last failure is of this class, such as "PlanLimit".
        limit: how many at most.
    """
    store = get_store()
    found = (
        Job(record, store)
        for record in store.walk("failed" if state == "FAILURE" else "index")
        if state in {None, record.state}
        and app_id in {None, record.app_id}
        and failure in {None, (record.error or {}).get("class")}
    )
    return islice(found, limit)
