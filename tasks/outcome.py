"""What became of a job, told to those who wait for it: Celery's result backend, and Sentry.

The step that ends a job, takes it up again, forgets it or gives up its attempt notes that this is
to be told. Who tells it takes the note away, if the job is still as it was told. A note that stays
is seen to by a dispatcher.
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
from tasks.states import ENDED, NONE
from tasks.trouble import Trouble

log = logging.getLogger("tasks")

P = ParamSpec("P")

#: Successes that were told and are to be noted, by the dispatcher or when there are so many.
_successes: deque[str] = deque()
NOTE_AT = 100
#: A job that becomes something else each time that it is told is left to a dispatcher.
TRIES: Final = 3


#: Seconds to wait for a connection to the result backend. How a job ended is told later, by a
#: dispatcher; that it waits for another attempt is not told again.
WAIT_SECONDS = 1.0
#: The process's connections to the result backend.
slots: Final = Slots(RESULTS)
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


#: Told where the job that met it is gone, and its failure with it.
GONE: Final = (
    "CometChat refused a call of account {account!r}; the job that met it has no record any more. "
    "`python -m tasks gate` shows whether the account is still refused. Check COMETCHAT_KEY and "
    "COMETCHAT_SECRET, and that COMETCHAT_BASE_URL is right."
)


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
    if closed == "rejected":
        _tell_rejected(store, job.account, job.id, failure, job)
    elif closed == "unavailable":
        log.warning("the API is away, the jobs of account %s wait: %s", job.account, failure)


def _tell_rejected(
    store: JobStore, account: str, job_id: str, failure: Exception, job: JobRecord | None
) -> None:
    log.error("account %s rejected, its jobs wait: %s", account, failure)
    account_rejected.send(sender=None, account=account, failure=failure, job=job)
    store.gate.told(account, job_id)


def tell_alarms(store: JobStore, accounts: Sequence[str]) -> None:
    """Tell people what attempts met that died before they could tell it."""
    for account in accounts:
        if job_id := store.gate.untold(account):
            try:
                job = store.get(job_id)
            except (errors.JobNotFound, errors.RecordUnreadable):
                gone = errors.AccountRejected(GONE.format(account=account))
                _tell_rejected(store, account, job_id, gone, None)
            else:
                tell_closed(store, job, "rejected", exception_of(job))


@_if_reachable
def tell_retry(store: JobStore, job: JobRecord, failure: Exception) -> None:
    """Let the result backend say RETRY; who has ended the job meanwhile has the last word."""
    _say(job.id, "RETRY", failure)
    if store.get(job.id).state in ENDED:
        _tell(store, job.id)


@_if_reachable
def tell_outcome(store: JobStore, job: JobRecord) -> None:
    """Store an ended job's result, report its failure once, and note that both was done."""
    if job.state == "SUCCESS":
        _say(job.id, "SUCCESS", job.result)
        _successes.append(job.id)
        if len(_successes) >= NOTE_AT:
            note_successes(store)
        return
    _say(job.id, job.state, _info_of(job))
    alerted = None
    if job.state == "FAILURE" and job.failure != job.alerted:
        who = store.may_alert(job)
        if who == "another does":
            return  # who takes the note away, or it is told again
        if who == "yes":
            job_failed.send(sender=None, job=job)
            alerted = job.failure
    if store.told([job.id], job.state, alerted=alerted):
        _tell(store, job.id)


@_if_reachable
def tell_now(store: JobStore, job_id: str) -> None:
    """Tell of a job, or of what has no record any more, as it is now."""
    _tell(store, job_id)


def _tell(store: JobStore, job_id: str) -> None:
    state = None
    for _ in range(TRIES):
        try:
            job = store.get(job_id)
        except errors.JobNotFound:
            job = None
        if job is not None and job.state in ENDED:
            tell_outcome(store, job)
            return
        state = job.state if job else NONE
        _say(job_id, state, _info_of(job) if job else None)
        if not store.told([job_id], state):
            return


def _info_of(job: JobRecord) -> object:
    if job.state == "REVOKED":
        return TaskRevokedError("cancelled")
    return exception_of(job) if job.state == "FAILURE" or job.error else None


def _say(job_id: str, state: str, info: object) -> None:
    """Let the result backend say this, whatever it says now."""
    if state == "SUCCESS" and getattr(app.backend, "shares", False):
        app.backend.store_result(job_id, info, state)
        return
    with slots.one(WAIT_SECONDS):
        if state != "SUCCESS":
            # Celery keeps a SUCCESS, which may be of a job that was forgotten, and enqueued anew.
            app.backend.forget(job_id)
        if state not in (NONE, "PENDING"):
            app.backend.store_result(job_id, info, state)


def note_successes(store: JobStore) -> None:
    """Note in one step which successes were told; those not noted are told again, harmlessly."""
    ids: list[str] = []
    # Other threads take from the same end.
    with suppress(IndexError):
        while True:
            ids.append(_successes.popleft())
    if ids:
        store.told(ids, "SUCCESS")


@_if_reachable
def tell_slow(store: JobStore, job_id: str) -> None:
    """Let the result backend say STARTED of an attempt that takes its time.

    One that reports in this very moment has the last word.
    """
    _say(job_id, "STARTED", None)
    if store.get(job_id).state != "STARTED":
        _tell(store, job_id)


@_if_reachable
def retold(store: JobStore, job_ids: Sequence[str], state: Literal["", "PENDING", "RETRY"]) -> None:
    """Correct the result backend about jobs that are taken up again, or forgotten ("").

    A worker may have run one already, and told its outcome in vain: then it is told again, but to
    no Sentry, which that worker tells.
    """
    for job_id in job_ids:
        _say(job_id, state, None)
    for job_id in store.told(job_ids, state):
        with suppress(errors.JobNotFound):
            job = store.get(job_id)
            _say(job_id, job.state, job.result if job.state == "SUCCESS" else _info_of(job))
