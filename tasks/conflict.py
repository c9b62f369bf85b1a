"""Whether an earlier job of the same webhook is what is asked for now."""

from __future__ import annotations

from tasks.errors import JobConflict
from tasks.passwords import differs_in_password
from tasks.record import JobRecord, NewJob
from tasks.webhook import differing_fields


def conflict_with(record: JobRecord, asked: NewJob) -> JobConflict | None:
    """What to tell if an earlier job differs from what is asked for now.

    Raises `SealingUnavailable` if their passwords cannot be compared.
    """
    differing = _differences(asked, record)
    if not differing:
        return None
    return JobConflict(
        f"Webhook {record.webhook_id!r} of app {record.app_id!r} was enqueued before with another "
        f"{', '.join(differing)} (job {record.id}, {record.state}); nothing was changed. Use "
        "update_webhook or another webhook id, or let `python -m tasks forget` remove the job once "
        "it has ended.",
        record.id,
        differing,
    )


def _differences(asked: NewJob, record: JobRecord) -> tuple[str, ...]:
    """The names of the fields in which an earlier job differs from what is asked for now."""
    differing = differing_fields(asked.webhook, record.webhook)
    if set(asked.more.triggers) != set(record.more.triggers):
        differing += ("triggers",)
    if asked.more.on_existing != record.more.on_existing:
        differing += ("on_existing",)
    if asked.webhook_version != record.webhook_version:
        differing += ("X-Webhook-Version",)
    if differs_in_password(asked, record):
        differing += ("password",)
    return differing
