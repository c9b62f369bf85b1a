"""A webhook's password: sealed for its job, compared, opened for the call, sealed anew."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import SecretBytes, SecretStr

from tasks.answer_texts import JobTexts
from tasks.errors import (
    PasswordUnreadable,
    RecordRefused,
    SealedPasswordChanged,
    SealingUnavailable,
)
from tasks.fields import is_password
from tasks.more import Action
from tasks.record import JobRecord, NewJob, job_id
from tasks.sealing import binding, get_sealer, same_password
from tasks.webhook import Webhook


class Sealed(NamedTuple):
    """A sealed password, and the marks by which it is compared, the newest key's first."""

    text: str
    marks: tuple[str, ...]


def seal_password(
    password: SecretStr | None,
    *,
    account: str,
    app_id: str,
    webhook: Mapping[str, Any],
    action: Action = "create",
    own_id: str | None = None,
) -> Sealed | None:
    """Seal a password, if there is one, for the job that takes it to CometChat.

    Args:
        password: as it was given.
        account: of the job, as its app id.
        app_id: likewise.
        webhook: what the job sends, as in its record.
        action: what the job does.
        own_id: the job's id, if it is not the webhook's create job.

    Raises `SealingUnavailable` when there is no key.
    """
    if password is None:
        return None
    first = job_id(account, app_id, str(webhook["id"]))
    bound_to = binding(
        account=account, app_id=app_id, action=action, job_id=own_id or first, webhook=webhook
    )
    sealer = get_sealer()
    return Sealed(sealer.seal(password, bound_to), sealer.marks(password, first))


def open_webhook(job: JobRecord) -> Webhook:
    """The webhook with its password, for the call alone; raises what `open_password` does."""
    password = open_password(job)
    return Webhook.parse({**job.webhook, "password": password} if password else job.webhook)


def open_password(job: JobRecord) -> SecretStr | None:
    """The password that the job has, if any, for the call alone.

    Raises `PasswordUnreadable`, or `RecordRefused` for one that no producer would have taken.
    """
    if not job.has_password:
        return None
    not_sent = f"Webhook {job.webhook_id!r} of app {job.app_id!r} was not sent:"
    problem = "its sealed password is gone from Redis: forget the job and enqueue it again."
    if job.sealed_password is not None:
        try:
            password = get_sealer().open(job.sealed_password, _binding_of(job))
        except SealedPasswordChanged as error:
            problem = str(error)
        except SealingUnavailable as error:
            problem = f"{error} Then retry the job."
        else:
            if is_password(password):
                return password
            raise RecordRefused(
                f"{not_sent} its password is none that CometChat takes, so no producer of this "
                "program sealed it: find out who else writes to Redis, and forget the job."
            )
    raise PasswordUnreadable(f"{not_sent} {problem}")


def texts_of(job: JobRecord) -> JobTexts:
    """What an answer is searched for because of this job, and what of it needs no search."""

    def password() -> SecretStr | None:
        with suppress(PasswordUnreadable, RecordRefused):
            return open_password(job)
        return None

    webhook = (value for value in job.webhook.values() if isinstance(value, str))
    return JobTexts(frozenset((job.app_id, *webhook, *job.more.triggers)), password)


def differs_in_password(asked: NewJob, record: JobRecord) -> bool:
    """Whether an earlier job of this webhook has another password, or one more or less.

    Raises `SealingUnavailable` if that cannot be told.
    """
    if not (asked.marks and record.has_password):
        return bool(asked.marks) != record.has_password
    is_same = same_password(record.mark or "", asked.marks)
    if is_same is None:
        raise SealingUnavailable(
            f"Whether webhook {record.webhook_id!r} of app {record.app_id!r} was enqueued with "
            f"this password before cannot be told: that was compared by key "
            f"{(record.mark or '').partition('.')[0]}. Add its SEALING_PUBLIC_KEY behind the new "
            f"one (new,old), or forget job {record.id} once it has ended."
        )
    return not is_same


def resealed(job: JobRecord) -> Sealed | None:
    """The job's password sealed by the newest key; nothing if it is, or there is none.

    Raises `SealingUnavailable` that says why it does not open.
    """
    sealer = get_sealer()
    if job.sealed_password is None or sealer.is_newest(job.sealed_password):
        return None
    bound_to = _binding_of(job)
    password = sealer.open(job.sealed_password, bound_to)
    return Sealed(sealer.seal(password, bound_to), sealer.marks(password, _first(job)))


def _first(job: JobRecord) -> str:
    return job_id(job.account, job.app_id, job.webhook_id)


def _binding_of(job: JobRecord) -> SecretBytes:
    return binding(
        account=job.account,
        app_id=job.app_id,
        action=job.more.action,
        job_id=_first(job) if job.more.action == "create" else job.id,
        webhook=job.webhook,
    )
