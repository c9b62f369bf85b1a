"""What the actions of jobs (`tasks/act.py`) share."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from tasks.errors import PasswordUnreadable, SealingUnavailable
from tasks.record import JobRecord
from tasks.sealing import get_sealer
from tasks.webhook import Webhook


@dataclass
class Progress:
    """What one attempt has done at CometChat so far: `changed` once a call had an effect."""

    changed: bool = False


def open_webhook(job: JobRecord) -> Webhook:
    """The webhook with its password, for the call alone. Raises `PasswordUnreadable`."""
    password = open_password(job)
    return Webhook.parse({**job.webhook, "password": password} if password else job.webhook)


def open_password(job: JobRecord) -> SecretStr | None:
    """The password that the job has, if any, for the call alone. Raises `PasswordUnreadable`."""
    if job.sealed_password is None:
        return None
    try:
        return get_sealer().open(job.sealed_password)
    except SealingUnavailable as error:
        problem = str(error)
    raise PasswordUnreadable(
        f"Webhook {job.webhook_id!r} of app {job.app_id!r} was not sent: {problem} "
        "Then retry the job."
    )
