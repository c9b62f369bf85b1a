"""Records of jobs with a password."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pydantic import SecretStr

from config.sealing_keys import new_pair
from tasks.passwords import open_password
from tasks.record import JobRecord, job_id
from tasks.sealing import Sealer, binding
from tasks.store import get_store

#: The settings that have keys.
KEYS: Final = ("SEALING_PUBLIC_KEY", "SEALING_PRIVATE_KEYS")


def new_keys() -> dict[str, str]:
    """The settings of a process that seals and opens passwords, with a key that is new."""
    return {name: key.get_secret_value() for name, key in zip(KEYS, new_pair(), strict=True)}


def with_password(job: JobRecord, password: SecretStr, key: SecretStr, **fields: Any) -> JobRecord:
    """The create job with these fields of its webhook besides, and a password sealed by `key`,
    the private half of a pair."""
    webhook, first = {**job.webhook, **fields}, job_id(job.account, job.app_id, job.webhook_id)
    bound_to = binding(
        account=job.account, app_id=job.app_id, action="create", job_id=first, webhook=webhook
    )
    sealer = Sealer(private=[key])
    sealed, mark = sealer.seal(password, bound_to), sealer.marks(password, first)[0]
    return replace(job, webhook=webhook, sealed_password=sealed, mark=mark)


def opened(job: str) -> str:
    """The password of a job, as its worker opens it."""
    store = get_store()
    password = open_password(*store.with_passwords([store.get(job)]))
    assert password is not None
    return password.get_secret_value()
