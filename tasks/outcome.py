"""What became of a job, told to those who wait for it: Celery's result backend, and Sentry.

`finish` notes in the record's own step that the outcome is still to be told; a worker that dies
in between leaves that note, and another worker's dispatcher tells it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Final, Literal, ParamSpec

from celery.exceptions import TaskRevokedError

from config.celery_app import app
from tasks import errors
from tasks.jobs import JobStore
from tasks.record import JobRecord
from tasks.signals import account_rejected, job_failed
from tasks.slots import RESULTS, Slots
from tasks.states import ENDED
from tasks.trouble import Trouble

log = logging.getLogger("tasks")

P = ParamSpec("P")

#: Successes that were told and are to be noted, by the dispatcher or when there are so many.
_successes: deque[str] = deque()
NOTE_AT = 100


#: Seconds to wait for a connection to the result backend: what is not told is told later.
WAIT_SECONDS = 1.0
_slots = Slots(RESULTS)
_trouble = Trouble(
    "the result backend was not told, dispatchers tell it later", "the result backend is told again"
)


def _if_reachable(tell: Callable[P, None]) -> Callable[P, None]:
    """Let a result backend that is away stop nobody: the record has the truth."""

    @wraps(tell)
    def told(*args: P.args, **options: P.kwargs) -> None:
        try:
            tell(*args, **options)
        except Exception as error:  # noqa: BLE001  every result backend has errors of its own
            _trouble.met(error)
            _connect_anew()
        else:
            _trouble.over()

    return told


def _connect_anew() -> None:
    """After a fail-over, a connection to Redis may lead to a server that is a replica now."""
    with suppress(Exception):  # other result backends have no such pool
        app.backend.client.connection_pool.disconnect(inuse_connections=False)


def _store(job_id: str, value: object, state: str) -> None:
    with _slots.one(WAIT_SECONDS):
        app.backend.store_result(job_id, value, state)


def error_of(failure: errors.ApiFailure) -> dict[str, Any]:
    """A failure as it is stored: class, code, status and its sentence."""
    return {
        "class": type(failure).__name__,
        "code": failure.code,
        "status": failure.status,
        "message": str(failure),
        "api_message": failure.api_message,
    }


def exception_of(job: JobRecord) -> errors.ApiFailure:
    """The exception that a record's error was made of, for those who expect one."""
    error = job.error or {}
    kind = _KINDS.get(str(error.get("class")), errors.ApiFailure)
    code, status = error.get("code"), error.get("status")
    return kind(str(error.get("message", "no reason was kept")), code=code, status=status)


#: By name; others are of another version, or somebody else wrote them.
_KINDS: Final = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ApiFailure)
}


def tell_closed(
    store: JobStore, job: JobRecord, closed: str | None, failure: errors.ApiFailure
) -> None:
    """Tell people, once, that this failure has closed the account's gate, and what to do.

    Args:
        store: where the gate learns that they were told.
        job: which met the failure.
        closed: what the step said has closed the gate, if that was this failure.
        failure: of the job's latest attempt.
    """
    account = job.account
    if closed == "rejected":
        log.error("account %s rejected, its jobs wait: %s", account, failure)
        account_rejected.send(sender=None, account=account, failure=failure, job=job)
        store.gate.told(account, job.id)
    elif closed == "unavailable":
        log.warning("the API is away, the jobs of account %s wait: %s", account, failure)


def tell_alarms(store: JobStore, accounts: Sequence[str]) -> None:
    """Tell people what attempts met that died before they could tell it."""
    for account in accounts:
        if job_id := store.gate.untold(account):
            with suppress(errors.JobNotFound, errors.RecordUnreadable):
                job = store.get(job_id)
                tell_closed(store, job, "rejected", exception_of(job))


@_if_reachable
def tell_retry(store: JobStore, job: JobRecord, failure: Exception) -> None:
    """Let the result backend say RETRY; who has ended the job meanwhile has the last word."""
    _store(job.id, failure, "RETRY")
    now = store.get(job.id)
    if now.state in ENDED:
        tell_outcome(store, now)


@_if_reachable
def tell_outcome(store: JobStore, job: JobRecord) -> None:
    """Store an ended job's result, report its failure once, and note that both was done."""
    alerted = None
    if job.state == "SUCCESS":
        _store(job.id, job.result, "SUCCESS")
        _successes.append(job.id)
        if len(_successes) >= NOTE_AT:
            note_successes(store)
        return
    if job.state == "REVOKED":
        _store(job.id, TaskRevokedError("cancelled"), "REVOKED")
    elif job.state == "FAILURE":
        _store(job.id, exception_of(job), "FAILURE")
        if job.failure != job.alerted:
            job_failed.send(sender=None, job=job)
            alerted = job.failure
    store.told([job.id], alerted=alerted)


def note_successes(store: JobStore) -> None:
    """Note in one step which successes were told; those not noted are told again, harmlessly."""
    ids: list[str] = []
    # Other threads take from the same end.
    with suppress(IndexError):
        while True:
            ids.append(_successes.popleft())
    if ids:
        store.told(ids)


@_if_reachable
def tell_slow(store: JobStore, job_id: str) -> None:
    """Let the result backend say STARTED of an attempt that takes its time.

    One that reports in this very moment has the last word.
    """
    _store(job_id, None, "STARTED")
    job = store.get(job_id)
    if job.state == "RETRY":
        tell_retry(store, job, exception_of(job))
    elif job.state in ENDED:
        tell_outcome(store, job)


@_if_reachable
def retold(job_ids: Sequence[str], state: Literal["PENDING", "RETRY"]) -> None:
    """Correct the result backend about jobs that are to be taken up again."""
    for job_id in job_ids:
        if state == "PENDING":
            with _slots.one(WAIT_SECONDS):
                app.backend.forget(job_id)
        else:
            _store(job_id, None, state)
