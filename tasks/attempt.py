"""What one attempt came to, and what is kept and logged of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.errors import AccountRejected, ApiFailure, CallRefused
from tasks.progress import Progress
from tasks.record import JobRecord

#: What the log line of an attempt has besides job, app and webhook.
LOGGED = ("attempt", "outcome", "status", "code", "ms", "next_try_in")


def attempt_entry(
    job: JobRecord,
    outcome: str,
    since: float,
    error: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What the job's history keeps of one attempt."""
    known = {key: value for key, value in (error or {}).items() if value is not None}
    mark = progress.stored_form if progress else ""
    return {
        "attempt": job.attempt,
        "at": job.started_at,
        "worker": job.worker,
        "outcome": outcome,
        **{key: known[key] for key in ("status", "code", "message") if key in known},
        "ms": round((time.monotonic() - since) * 1000),
        **({"stored_form": mark} if mark else {}),
    }


def log_fields(job: JobRecord, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The one log line of an attempt."""
    shown = {key: entry[key] for key in LOGGED if key in entry}
    what = {} if job.more.action == "create" else {"action": job.more.action}
    return {"job": job.id, "app": job.app_id, "webhook": job.webhook_id, **what, **shown}


def ended(job: JobRecord, state: str, entry: Mapping[str, Any], **outcome: Any) -> JobRecord:
    """The record as the step that ended the job left it, without reading it again."""
    return replace(job, state=state, history=(*job.history, entry), **outcome)


def own_refusal(job: JobRecord, failure: ApiFailure, progress: Progress) -> ApiFailure:
    """The failure as the job's own, if other calls with the same key and secret were accepted.

    Those are calls of other jobs since this one was refused first, or, where the failure is not
    sure to be about the credentials, an earlier call of this attempt.
    """
    if not isinstance(failure, AccountRejected):
        return failure
    if job.refused_alone:
        accepted = "other calls of this account since it first did so"
    elif progress.changed and not failure.is_sure:
        accepted = "an earlier call of this attempt"
    else:
        return failure
    said = " ".join(str(part) for part in (failure.status, failure.code) if part is not None)
    words = f": {failure.api_message}" if failure.api_message else ""
    return CallRefused(
        f"CometChat refuses webhook {job.webhook_id!r} of app {job.app_id!r} ({said}{words}). It "
        f"has accepted {accepted}: key and secret are right. Look "
        "whether they may act on this app, and whether a firewall before the API dislikes a value "
        "of this webhook.",
        status=failure.status,
        code=failure.code,
        api_message=failure.api_message,
        retry_after=failure.retry_after,
        outcome_unknown=failure.outcome_unknown,
        result=failure.result,
    )
