"""What is kept and logged of one attempt."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.record import JobRecord

#: What the log line of an attempt has besides job, app and webhook.
LOGGED = ("attempt", "outcome", "status", "code", "ms", "next_try_in")


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
    what = {} if job.more.action == "create" else {"action": job.more.action}
    return {"job": job.id, "app": job.app_id, "webhook": job.webhook_id, **what, **shown}


def ended(job: JobRecord, state: str, entry: Mapping[str, Any], **outcome: Any) -> JobRecord:
    """The record as the step that ended the job left it, without reading it again."""
    return replace(job, state=state, history=(*job.history, entry), **outcome)
