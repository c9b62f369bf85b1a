"""What a record asks for, looked at once more before the first call.

Producers check it when they enqueue. But whoever can write to Redis can write a record, and one
that no producer of ours would have written makes no call: each of its fields keeps to the limits
that enqueueing has, and its webhook leads where this worker's own WEBHOOK_URL_ALLOW lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import SecretStr

from tasks.changed_fields import check_changes
from tasks.destination import check_allowed
from tasks.errors import InvalidInput, RecordRefused
from tasks.fields import check_app_id, check_webhook_id
from tasks.record import JobRecord
from tasks.triggers import trigger_ids
from tasks.webhook import Webhook

#: In the place of the sealed password, which is opened for the call alone.
_SEALED = SecretStr("sealed")


def check_record(job: JobRecord, domains: Sequence[str]) -> None:
    """Look at all that gets into a call's path, header or body.

    Args:
        job: what its record asks for.
        domains: those of WEBHOOK_URL_ALLOW.

    Raises:
        RecordRefused: with all that is wrong.
    """
    if problems := dict(_problems(job, domains)):
        told = "; ".join(
            problem if problem.startswith("unknown field") else f"{name}: {problem}"
            for name, problem in problems.items()
        )
        raise RecordRefused(
            f"Nothing was called for webhook {_shown(job.webhook_id)} of app "
            f"{_shown(job.app_id)}, as no producer may ask for what is in its record: {told}. "
            "If one did, compare its WEBHOOK_URL_ALLOW with this worker's, and retry the job; "
            "else see who writes to Redis, and forget the job."
        )


def _problems(job: JobRecord, domains: Sequence[str]) -> Iterator[tuple[str, str]]:
    checks: tuple[Callable[[], Any], ...] = (
        lambda: check_app_id(job.app_id),
        lambda: check_webhook_id(job.webhook.get("id")),
        lambda: _check_fields(job, domains),
    )
    for check in checks:
        try:
            check()
        except InvalidInput as error:
            yield from error.problems.items()
    if job.webhook_version not in (2, None):
        yield "X-Webhook-Version", "must be 2, or none for legacy"
    try:
        trigger_ids(job.more.triggers or ("none",))
    except ValueError as error:
        yield "triggers", str(error)


def _check_fields(job: JobRecord, domains: Sequence[str]) -> None:
    """Raises `InvalidInput`."""
    fields = dict(job.webhook)
    if job.has_password:
        fields["password"] = _SEALED
    match job.more.action:
        case "create":
            webhook = Webhook.parse(fields)
            check_allowed(webhook.webhook_url, webhook.id, domains)
        case "update":
            fields.pop("id", None)
            check_changes(job.webhook_id, fields, domains)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 50 else text[:50] + "...")
