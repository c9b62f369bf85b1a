"""What a person does about a job: cancel it, retry it, forget it, list them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

from config.settings import get_settings
from tasks.errors import NotConfirmed, StepRefused
from tasks.failed import take_up
from tasks.job import Job
from tasks.outcome import retold, tell_outcome
from tasks.record import JobRecord
from tasks.selection import ALL, Selection
from tasks.states import NONE
from tasks.store import get_store
from tasks.verbs import VERBS


def cancel_job(job_id: str) -> Job:
    """Cancel a job that has not ended.

    Before the call this prevents it. During a call it is noted, and the job tells the truth when
    the call ends: SUCCESS or FAILURE, or REVOKED instead of another attempt. `Job.effect` says
    whether an earlier call may have created the webhook all the same.

    Raises:
        JobNotFound: there is no such job.
        StepRefused: it has ended already.
        NotConfirmed: it is recorded, but was not confirmed as ENQUEUE_DURABILITY asks.
    """
    store = get_store()
    before = store.get(job_id)
    durability = get_settings().enqueue_durability
    state, confirmed = store.cancel(job_id, durability=durability)
    job = Job(store.get(job_id), store)
    if state == "REVOKED" and before.state != "REVOKED":
        tell_outcome(store, job.record)
    elif state not in {"STARTED", "REVOKED"}:
        raise StepRefused(f"Job {job_id} has ended ({state}) and cannot be cancelled.")
    if not confirmed:
        raise NotConfirmed(job, durability)
    return job


def retry_job(job_id: str, *, even_if_followed: bool = False) -> Job:
    """Take up a failed or cancelled job again, with all its attempts anew and its history kept.

    Args:
        job_id: which.
        even_if_followed: take it up although later jobs of its webhook were asked for; it runs
            once these have ended, and may undo what they did.

    Raises:
        JobNotFound: there is no such job.
        StepRefused: it has not ended, it succeeded, its time (`expires_in`) is over, its password
            was erased as it was cancelled, or a later job of its webhook follows it.
    """
    store = get_store()
    record = store.get(job_id)
    state = record.state
    if state in {"FAILURE", "REVOKED"}:
        if record.is_expired(store.clock()):
            raise StepRefused(
                f"Job {job_id} cannot be retried, as its time (expires_in) is over. If its webhook "
                "is still wanted, forget the job and enqueue the webhook again."
            )
        how: Literal["fresh", "last"] = "last" if even_if_followed else "fresh"
        [state] = take_up(store, [job_id], how=how)
        job = Job(store.get(job_id), store)
        if state == "PENDING":
            return job
        if store.lacks_password(record):
            raise StepRefused(
                f"Job {job_id} cannot be retried: its password was erased when it was cancelled. "
                "If its webhook is still wanted, forget the job and enqueue the webhook again."
            )
        if state in {"FAILURE", "REVOKED"}:
            raise StepRefused(_followed(job.record))
    raise StepRefused(f"Job {job_id} is {state}; only a failed or cancelled one can be retried.")


def _followed(record: JobRecord) -> str:
    later = f"job {record.followed_by}" if record.followed_by else "another job"
    return (
        f"Job {record.id} cannot just be retried: {later} was accepted after it for the same "
        f"webhook, {record.webhook_id!r} of app {record.app_id!r}, and to {_to_do(record)} it now "
        "could undo what that did. To have it run after all of them, retry it with "
        "--even-if-followed (even_if_followed=True)."
    )


def _to_do(record: JobRecord) -> str:
    return VERBS[record.more.action].to_do


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
    retold(store, [job_id], NONE)


def list_jobs(
    selection: Selection = ALL, *, state: str | None = None, limit: int = 50
) -> Iterator[Job]:
    """Jobs, newest first; with `state="FAILURE"` by the time of the failure.

    Args:
        selection: which; by default all.
        state: only those in this state.
        limit: how many at most.
    """
    store = get_store()
    place: Literal["failed", "index"] = "failed" if state == "FAILURE" else "index"
    found = (
        Job(record, store)
        for record in store.walk(place, since=selection.begin, until=selection.end)
        if state in {None, record.state} and selection.fits(record)
    )
    return islice(found, limit)
