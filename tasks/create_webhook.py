"""One attempt: claim the job, do what it asks for with its webhook, report.

A worker does so with each job that a message hints at (`worker/attempts.py`). All that is known is
in the record (`tasks.jobs`), so a second message, a repeated one or a lost one does no harm. The
body of the Celery task runs where somebody calls it in their own process: no message leads there.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog
from celery import Task
from celery.exceptions import Ignore, Retry

from config.celery_app import app
from config.settings import get_settings
from config.shared import shared
from tasks.act import act
from tasks.attempt import attempt_entry, ended, log_fields, own_refusal
from tasks.backoff import RetryPolicy
from tasks.clients import get_api
from tasks.deadline import Deadline
from tasks.delayed import Enqueuing
from tasks.errors import (
    ApiFailure,
    RateLimited,
    RecordUnreadable,
    StoreUnavailable,
    WebhookJobError,
    WorkerCrashed,
)
from tasks.gate import Told
from tasks.identity import identity
from tasks.jobs import JobStore
from tasks.outcome import error_of, tell_closed, tell_now, tell_outcome, tell_retry
from tasks.passwords import texts_of
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.signals import bug_found
from tasks.store import WORKER_PATIENCE, get_store
from tasks.turn import Cancelled, Held, Superseded, Turn, clock

log = structlog.get_logger("tasks")

#: So many attempts that end with their worker are no accident.
LOST_IN_A_ROW = 3

#: Set once this process has handed back its jobs and ends: no attempt begins, none calls.
leaving = threading.Event()


@app.task(base=Enqueuing, name="tasks.create_webhook", bind=True, throws=(WebhookJobError,))
def create_webhook(self: Task, job_id: object = None, *_: object, **__: object) -> dict[str, Any]:
    """Run one attempt of a job, whatever it asks for. Returns the job's result."""
    if not isinstance(job_id, str):
        log.warning("foreign message dropped", task_id=self.request.id)
        raise Ignore
    if (claimed := claim(job_id, self.request.hostname)) is None:
        raise Ignore
    return attempt(claimed)


class Claimed(NamedTuple):
    """A job that this process has.

    Args:
        job: its record.
        store: where that is.
        since: when it was claimed, by a clock that runs while the machine sleeps.
        started: the same by the clock of all other times.
    """

    job: JobRecord
    store: JobStore
    since: float
    started: float


def claim(job_id: str, hostname: str) -> Claimed | None:
    """Take a job for an attempt of the worker of this name.

    Nothing if it is done, not due, held or somebody else's: then its hint has nothing to tell.
    """
    if leaving.is_set():
        return None  # the job was handed back, message and all
    store = get_store(WORKER_PATIENCE)
    since, started = clock(), time.monotonic()  # before the claim, which may take its time
    try:
        job = store.claim(job_id, worker=identity(hostname), token=uuid.uuid4().hex)
    except RecordUnreadable as error:
        log.warning("job left alone", job=job_id, problem=str(error))
        return None
    return Claimed(job, store, since, started) if job else None


def attempt(claimed: Claimed) -> dict[str, Any]:
    """Do what a claimed job asks for, and report it; the job's result.

    Raises what `run_attempt` raises.
    """
    job, store, since, started = claimed
    turn, progress = Turn(store, job, since, leaving), Progress()
    way = Deadline(turn, job, started, progress)
    try:
        return run_attempt(store, job, way, progress, since=started)
    except Stale:
        if turn.may_have_changed:
            recheck(store, job)
        raise


class Stale(Ignore):
    """The attempt's job is another's by now: its report changed nothing."""


def run_attempt(
    store: JobStore, job: JobRecord, way: Deadline, progress: Progress, *, since: float
) -> dict[str, Any]:
    """Do what a claimed job asks for, and report it; the job's result.

    Raises what ends a Celery task as the attempt ended: `Retry`, `Ignore` or the failure; `Stale`
    if the job is another attempt's by now; `StoreUnavailable` if it could not be reported.
    """
    interrupted: type[Exception] | None = None
    try:
        refuse_if_workers_die(job)
        way.check()  # also where this worker has no credentials for the account
        api = get_api(job.account).guarded(way, texts_of(job))
        result = act(api, job, progress=progress)
    except StoreUnavailable:
        raise  # nothing can be reported either: the lease ends, and the job runs again
    except (Superseded, Cancelled, Held) as reason:
        interrupted = type(reason)
    except ApiFailure as error:
        # Its traceback holds this very frame: what failed would stay until the collector comes.
        failure = own_refusal(job, error.with_traceback(None), progress)
    except Exception as error:  # noqa: BLE001  a bug must not lose the job: it is told, and retried
        failure = crash(job, error)
    else:
        return succeed(store, job, result, way.told(), since=since)
    # Not while the exception is handled, whose traceback holds this very frame.
    if interrupted is Superseded:
        raise stale(job, attempt_entry(job, "superseded", since))
    if interrupted is Cancelled:
        raise revoke(store, job, way.told(), progress, since=since)
    if interrupted is Held:
        raise hold(store, job, way.told(), progress, since=since)
    # What an attempt has changed must be looked for, not made again, whatever its end says.
    failure.outcome_unknown = failure.outcome_unknown or progress.changed
    raise fail(store, job, failure, way.told(failure), progress, left=way.left(), since=since)


def refuse_if_workers_die(job: JobRecord) -> None:
    """Raise `WorkerCrashed` if the last attempts ended with their workers, and all are spent."""
    last = [entry.get("outcome") for entry in job.history[-LOST_IN_A_ROW:]]
    if last == ["lost"] * LOST_IN_A_ROW and get_policy().is_spent(
        attempts=job.attempts - 1, age=job.age
    ):
        raise WorkerCrashed(
            f"Every attempt at webhook {job.webhook_id!r} of app {job.app_id!r} ended with its "
            "worker: look for what stops the workers, then retry the job."
        )


def succeed(
    store: JobStore, job: JobRecord, result: dict[str, Any], told: Told, *, since: float
) -> dict[str, Any]:
    """Record and tell a success. Raises `Ignore` for a stale attempt."""
    entry = attempt_entry(job, result["outcome"], since)
    if not store.finish(job, "SUCCESS", result=result, entry=entry, told=told):
        raise stale(job, entry)
    log.info("attempt", **log_fields(job, entry))
    warn_of_differences(job, result)
    tell_outcome(store, ended(job, "SUCCESS", entry, result=result))
    return result


def fail(
    store: JobStore,
    job: JobRecord,
    failure: ApiFailure,
    told: Told,
    progress: Progress,
    *,
    left: float | None,
    since: float,
) -> Exception:
    """Record and tell a failed attempt; what comes back ends the task as Celery expects.

    That is `Retry` if the job waits for another attempt, the failure if it is final, `Ignore`
    if the attempt was stale or the job cancelled. The job wakes when no time is `left` at the
    latest, to be told that it has `Expired`.
    """
    policy = get_policy()
    error = error_of(failure)
    entry = attempt_entry(job, error["class"], since, error, progress)
    if policy.is_final(failure, attempts=job.attempts, age=job.age + entry["ms"] / 1000):
        if not store.finish(
            job,
            "FAILURE",
            result=failure.result,
            error=error,
            entry=entry,
            outcome_unknown=failure.outcome_unknown,
            told=told,
        ):
            return stale(job, entry)
        log.warning("attempt", **log_fields(job, entry))
        warn_of_differences(job, failure.result)
        tell_outcome(store, ended(job, "FAILURE", entry, result=failure.result, error=error))
        return failure
    delay = 0.0
    if not isinstance(failure, RateLimited):  # of which the gate says when
        delay = policy.delay(failure, attempts=job.attempts, holds=job.holds)
        delay = delay if left is None else min(delay, max(left, 0.0))
        entry["next_try_in"] = round(delay, 3)
    followed = store.reschedule(
        job,
        delay=delay,
        error=error,
        entry=entry,
        outcome_unknown=failure.outcome_unknown,
        uses_attempt=not failure.account_wide,
        told=told,
    )
    if followed is None:
        return stale(job, entry)
    log.info("attempt", **log_fields(job, entry))
    tell_closed(store, job, followed.closed, failure)
    if followed.state == "REVOKED":
        tell_outcome(store, ended(job, "REVOKED", entry))
        return Ignore()
    tell_retry(store, job, failure)
    retry = Retry(str(failure), exc=failure, when=delay)
    retry.args = (str(failure),)  # Celery puts the exception itself there: a ring
    return retry


def warn_of_differences(job: JobRecord, result: Mapping[str, Any] | None) -> None:
    """Tell, once the job has ended, what CometChat shows otherwise than the job asks for."""
    if names := (result or {}).get("differs"):
        fields = {"job": job.id, "app": job.app_id, "webhook": job.webhook_id}
        log.warning("CometChat shows the webhook otherwise than asked for", differs=names, **fields)


def revoke(
    store: JobStore, job: JobRecord, told: Told, progress: Progress, *, since: float
) -> Exception:
    """Record and tell that a job was cancelled before this attempt's next call."""
    entry = attempt_entry(job, "cancelled", since, progress=progress)
    return put_back(store, job, entry, told, progress)


def hold(
    store: JobStore, job: JobRecord, told: Told, progress: Progress, *, since: float
) -> Exception:
    """Send a job back to wait for its account's gate, which closed between two of its calls."""
    entry = attempt_entry(job, "held", since, progress=progress)
    return put_back(store, job, entry, told, progress)


def put_back(
    store: JobStore,
    job: JobRecord,
    entry: dict[str, Any],
    told: Told,
    progress: Progress,
) -> Exception:
    """Let a job wait as it was, or end if it was cancelled; no attempt is used up."""
    followed = store.reschedule(
        job,
        delay=0.0,
        error=None,
        entry=entry,
        outcome_unknown=progress.changed,
        uses_attempt=False,
        told=told,
    )
    if followed is None:
        return stale(job, entry)
    log.info("attempt", **log_fields(job, entry))
    if followed.state == "REVOKED":
        tell_outcome(store, ended(job, "REVOKED", entry))
    else:
        tell_now(store, job.id)  # it may have been told as STARTED
    return Ignore()


def crash(job: JobRecord, error: Exception) -> WorkerCrashed:
    """Report a fault of this program and make a failure of it."""
    log.error("bug", job=job.id, app=job.app_id, webhook=job.webhook_id, exc_info=error)
    bug_found.send(sender=None, error=error, job=job)
    return WorkerCrashed(
        f"The attempt at webhook {job.webhook_id!r} of app {job.app_id!r} met a fault of this "
        f"program ({type(error).__name__}); the log and Sentry have its traceback.",
        outcome_unknown=True,
    )


def stale(job: JobRecord, entry: Mapping[str, Any]) -> Stale:
    """Another attempt took over while this one ran: it has nothing to say."""
    log.warning("stale attempt, its report changed nothing", **log_fields(job, entry))
    return Stale()


def recheck(store: JobStore, job: JobRecord) -> None:
    """Have the webhook's latest job run again: this stale attempt may have called after it."""
    if (found := store.recheck(job)) is None:
        return
    latest, what = found
    fields = {"job": job.id, "latest": latest, "app": job.app_id, "webhook": job.webhook_id}
    if what == "cannot":
        log.error("a stale attempt may have changed the webhook: look at it", **fields)
    else:
        log.warning("a stale attempt may have changed the webhook: its latest job sees", **fields)


@shared
def get_policy() -> RetryPolicy:
    """The process's retry policy, from the settings."""
    settings = get_settings()
    return RetryPolicy(
        base_seconds=settings.retry_base_seconds,
        max_delay_seconds=settings.retry_max_delay_seconds,
        max_attempts=settings.retry_max_attempts,
        max_age=settings.retry_max_age,
        app_not_found_seconds=settings.app_not_found_seconds,
    )
