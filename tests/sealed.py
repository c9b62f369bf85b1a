"""Records of jobs with a password."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tasks.passwords import open_password
from tasks.record import JobRecord, job_id
from tasks.sealing import Sealer, binding
from tasks.store import get_store


def with_password(job: JobRecord, password: SecretStr, key: SecretStr, **fields: Any) -> JobRecord:
    """The create job with these fields of its webhook besides, and a password sealed by `key`."""
    webhook, first = {**job.webhook, **fields}, job_id(job.account, job.app_id, job.webhook_id)
    bound_to = binding(
        account=job.account, app_id=job.app_id, action="create", job_id=first, webhook=webhook
    )
    sealed, mark = Sealer([key]).seal(password, bound_to), Sealer([key]).marks(password, first)[0]
    return replace(job, webhook=webhook, sealed_password=sealed, mark=mark)


def opened(job: str) -> str:
    """The password of a job, as its worker opens it."""
    store = get_store()
    password = open_password(*store.with_passwords([store.get(job)]))
    assert password is not None
    return password.get_secret_value()
