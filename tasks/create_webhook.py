"""The Celery task: claim the job, make sure that its webhook exists, report.

The message holds the job's id and nothing else. All that is known is in the record
(`tasks.jobs`), so a second message, a repeated one or a lost one does no harm.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import structlog
from celery import Task
from celery.exceptions import Ignore, Retry

from config.celery_app import CONCURRENCY, app
from config.settings import get_settings
from tasks.backoff import RetryPolicy
from tasks.cometchat import CometChat
from tasks.errors import (
    ApiFailure,
    ApiUnavailable,
    PasswordUnreadable,
    PlanLimit,
    SealingUnavailable,
    StoreUnavailable,
    WebhookConflict,
    WebhookJobError,
    WebhookNotFound,
    WebhookRejected,
    WorkerCrashed,
)
from tasks.jobs import LEASE_SECONDS, JobStore
from tasks.outcome import error_of, tell_outcome, tell_retry
from tasks.record import JobRecord
from tasks.sealing import get_sealer
from tasks.signals import bug_found
from tasks.store import WORKER_PATIENCE, get_store
from tasks.webhook import Webhook

log = structlog.get_logger("tasks")

#: What may mean "there is one already": no source tells how the API says so.
PERHAPS_A_DUPLICATE = frozenset({400, 409, 422})

#: So many attempts that end with their worker are no accident.
LOST_IN_A_ROW = 3

#: Within so many seconds of its claim an attempt's lease cannot have ended.
FRESH_SECONDS = LEASE_SECONDS / 2

#: What the log line of an attempt has besides job, app and webhook.
LOGGED = ("attempt", "outcome", "status", "code", "ms", "next_try_in")


@app.task(name="tasks.create_webhook", bind=True, throws=(WebhookJobError,))
def create_webhook(self: Task, job_id: object = None, *_: object, **__: object) -> dict[str, Any]:
    """Run one attempt of a job. Returns the webhook as the API has it."""
    if not isinstance(job_id, str):
        log.warning("foreign message dropped", task_id=self.request.id)
        raise Ignore
    store = get_store(WORKER_PATIENCE)
    started = time.monotonic()  # before the claim, whose answer may take its time
    job = store.claim(job_id, worker=self.request.hostname, token=uuid.uuid4().hex)
    if job is None:
        raise Ignore  # done, not due, or somebody else's: this message has nothing to tell
    try:
        result = ensure(get_api(), job, may_call=partial(is_current, store, job, started))
    except StoreUnavailable:
        raise  # nothing can be reported either: the lease ends, and the job runs again
    except Superseded:
        raise stale(job, attempt_entry(job, "superseded", started)) from None
    except ApiFailure as error:
        failure = error
    except Exception as error:  # noqa: BLE001  a bug must not lose the job: it is told, and retried
        failure = crash(job, error)
    else:
        return succeed(store, job, result, since=started)
    raise fail(store, job, failure, since=started)


class Superseded(Exception):
    """The attempt was held up so long that its job is another's by now, or has ended."""


def ensure(
    api: CometChat, job: JobRecord, *, may_call: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """Create the webhook, unless it is there already as asked.

    Where an earlier outcome is unknown, and where the API answers what may mean "already
    there", the webhook is read back first. `may_call` is asked right before the call that
    creates.

    Raises:
        Superseded: the attempt may not call any more.
        WebhookConflict: one with this id exists and differs; nothing was overwritten.
        ApiFailure: the call failed.
    """
    if brings_workers_down(job):
        raise WorkerCrashed(
            f"Every attempt at webhook {job.webhook_id!r} of app {job.app_id!r} ended with its "
            "worker: look for what stops the workers, then retry the job."
        )
    if job.outcome_unknown and (found := read_back(api, job)):
        return found
    webhook = open_webhook(job)
    if not may_call():
        raise Superseded
    refusal: ApiFailure
    try:
        created = api.create_webhook(job.app_id, webhook, version=job.webhook_version)
    except WebhookRejected as error:
        if error.status not in PERHAPS_A_DUPLICATE:
            raise
        refusal = error
    except PlanLimit as error:
        refusal = error  # the app may be full of this webhook, too: a call that came late
    else:
        return {**created, "outcome": "created"}
    if found := read_back(api, job):
        return found
    raise refusal


def is_current(store: JobStore, job: JobRecord, since: float) -> bool:
    """Whether this attempt has its job still: one that was frozen may have lost it."""
    return time.monotonic() - since < FRESH_SECONDS or store.holds(job)


def read_back(api: CometChat, job: JobRecord) -> dict[str, Any] | None:
    """The webhook if the API has it as asked, nothing if it has none with this id."""
    try:
        found = api.get_webhook(job.app_id, job.webhook_id, version=job.webhook_version)
    except WebhookNotFound:
        return None
    except ApiFailure as failure:
        failure.outcome_unknown = False  # reading has no effect to be unsure of
        if not failure.transient:  # it is the look that was refused, not the webhook
            failure.args = (f"Whether the webhook exists could not be read: {failure}",)
        raise
    if "name" not in found or "webhookURL" not in found:
        raise ApiUnavailable(
            f"CometChat's answer about webhook {job.webhook_id!r} of app {job.app_id!r} lacks its "
            "name or URL: whether it is as asked cannot be told."
        )
    differing = [name for name in ("name", "webhookURL") if found.get(name) != job.webhook[name]]
    if differing:
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} with another "
            f"{' and '.join(differing)}; it was left as it is. Delete or update it at CometChat "
            "and retry the job, or enqueue under another id."
        )
    return {**found, "outcome": "existed"}


def open_webhook(job: JobRecord) -> Webhook:
    """The webhook with its password, for the call alone."""
    if job.sealed_password is None:
        return Webhook.parse(job.webhook)
    try:
        return Webhook.parse({**job.webhook, "password": get_sealer().open(job.sealed_password)})
    except SealingUnavailable as error:
        problem = str(error)
    raise PasswordUnreadable(
        f"Webhook {job.webhook_id!r} of app {job.app_id!r} was not created: {problem} "
        "Then retry the job."
    )


def brings_workers_down(job: JobRecord) -> bool:
    """Whether the last attempts were lost with their workers, and no more of them are to be."""
    last = [entry["outcome"] for entry in job.history[-LOST_IN_A_ROW:]]
    return last == ["lost"] * LOST_IN_A_ROW and get_policy().is_spent(
        attempts=job.attempts - 1, age=job.age
    )


def succeed(
    store: JobStore, job: JobRecord, result: dict[str, Any], *, since: float
) -> dict[str, Any]:
    """Record and tell a success. Raises `Ignore` for a stale attempt."""
    entry = attempt_entry(job, result["outcome"], since)
    if not store.finish(job, "SUCCESS", result=result, entry=entry):
        raise stale(job, entry)
    log.info("attempt", **log_fields(job, entry))
    tell_outcome(store, ended(job, "SUCCESS", entry, result=result))
    return result


def fail(store: JobStore, job: JobRecord, failure: ApiFailure, *, since: float) -> Exception:
    """Record and tell a failed attempt; what comes back ends the task as Celery expects.

    That is `Retry` if the job waits for another attempt, the failure if it is final, `Ignore`
    if the attempt was stale or the job cancelled.
    """
    policy = get_policy()
    error = error_of(failure)
    entry = attempt_entry(job, error["class"], since, error)
    if policy.is_final(failure, attempts=job.attempts, age=job.age + entry["ms"] / 1000):
        unknown = failure.outcome_unknown
        if not store.finish(job, "FAILURE", error=error, entry=entry, outcome_unknown=unknown):
            return stale(job, entry)
        log.warning("attempt", **log_fields(job, entry))
        tell_outcome(store, ended(job, "FAILURE", entry, error=error))
        return failure
    delay = policy.delay(failure, attempts=job.attempts, holds=job.holds)
    entry["next_try_in"] = round(delay, 3)
    state = store.reschedule(
        job,
        delay=delay,
        error=error,
        entry=entry,
        outcome_unknown=failure.outcome_unknown,
        uses_attempt=not failure.account_wide,
    )
    if state is None:
        return stale(job, entry)
    log.info("attempt", **log_fields(job, entry))
    if state == "REVOKED":
        tell_outcome(store, ended(job, "REVOKED", entry))
        return Ignore()
    tell_retry(store, job, failure)
    return Retry(str(failure), exc=failure, when=delay)


def ended(job: JobRecord, state: str, entry: Mapping[str, Any], **outcome: Any) -> JobRecord:
    """The record as the step that ended the job left it, without reading it again."""
    return replace(job, state=state, history=(*job.history, entry), **outcome)


def crash(job: JobRecord, error: Exception) -> WorkerCrashed:
    """Report a fault of this program and make a failure of it."""
    log.error("bug", job=job.id, app=job.app_id, webhook=job.webhook_id, exc_info=error)
    bug_found.send(sender=None, error=error, job=job)
    return WorkerCrashed(
        f"The attempt at webhook {job.webhook_id!r} of app {job.app_id!r} met a fault of this "
        f"program ({type(error).__name__}); the log and Sentry have its traceback.",
        outcome_unknown=True,
    )


def stale(job: JobRecord, entry: Mapping[str, Any]) -> Exception:
    """Another attempt took over while this one ran: it has nothing to say."""
    log.warning("stale attempt, nothing changed", **log_fields(job, entry))
    return Ignore()


def attempt_entry(
    job: JobRecord, outcome: str, since: float, error: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the job's history keeps of one attempt."""
    known = {key: value for key, value in (error or {}).items() if value is not None}
    return {
        "attempt": job.attempt,
        "at": job.started_at,
        "worker": job.worker,
        "outcome": outcome,
        **{key: known[key] for key in ("status", "code", "message") if key in known},
        "ms": round((time.monotonic() - since) * 1000),
    }


def log_fields(job: JobRecord, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The one log line of an attempt."""
    shown = {key: entry[key] for key in LOGGED if key in entry}
    return {"job": job.id, "app": job.app_id, "webhook": job.webhook_id, **shown}


@lru_cache(maxsize=1)
def get_api() -> CometChat:
    """The process's client, its pool as large as the worker's concurrency."""
    settings = get_settings()
    settings.require("cometchat_key", "cometchat_secret")
    assert settings.cometchat_key and settings.cometchat_secret  # noqa: S101  for the type checker
    return CometChat(
        settings.cometchat_base_url,
        settings.cometchat_key,
        settings.cometchat_secret,
        connect_timeout=settings.cometchat_connect_timeout,
        read_timeout=settings.cometchat_read_timeout,
        pool_size=app.conf.worker_concurrency or CONCURRENCY,
    )


@lru_cache(maxsize=1)
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
