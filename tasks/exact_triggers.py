"""Let a webhook have exactly the triggers that a job asks for.

What is missing is added before what is too much is removed, so that no event that is wanted before
and after is missed in between. What the API lists is what counts: nothing has to be known of
earlier calls.
"""

from __future__ import annotations

from typing import Any

from tasks.add_triggers import add, listed, shown
from tasks.change import not_found
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure, TriggersRefused, WebhookNotFound, WebhookRejected
from tasks.progress import Progress
from tasks.record import JobRecord


def set_triggers(api: CometChat, job: JobRecord, *, progress: Progress) -> dict[str, Any]:
    """Add the triggers that are missing, and remove all others.

    Returns:
        The webhook's `id` and its `triggers`, with `outcome`: "updated", then with those that were
        `added` and `removed`, or "unchanged".

    Raises:
        TriggersRefused: the API refused some; what succeeded stays, and if one was not added
            none was removed.
        WebhookNotFound: the app has no such webhook.
        ApiFailure: a call failed.
    """
    try:
        return _set(api, job, progress)
    except WebhookNotFound:
        raise not_found(job) from None


def _set(api: CometChat, job: JobRecord, progress: Progress) -> dict[str, Any]:
    wanted, had = job.more.triggers, listed(api, job)
    missing = [one for one in wanted if one not in had]
    surplus = [one for one in had if one not in wanted]
    if missing:
        all_added, refusal = add(api, job, missing)
        progress.changed = True
        has = [*had, *missing] if all_added else listed(api, job)
        if refused := [one for one in wanted if one not in has]:
            raise _refused(job, had, has, f"did not add {shown(refused)}", refusal)
    if surplus:
        refusal = _remove(api, job, surplus)
        progress.changed = True
        if refusal and (left := [one for one in listed(api, job) if one in surplus]):
            has = [*wanted, *left]
            raise _refused(job, had, has, f"did not remove {shown(left)}", refusal)
    return _result(job, had, list(wanted))


def _remove(api: CometChat, job: JobRecord, surplus: list[str]) -> WebhookRejected | None:
    """What the API said if it refused the call."""
    try:
        api.remove_triggers(job.app_id, job.webhook_id, surplus, version=job.webhook_version)
    except WebhookRejected as refusal:
        return refusal.with_traceback(None)  # which holds this very frame
    return None


def _result(job: JobRecord, had: list[str], has: list[str]) -> dict[str, Any]:
    added = [one for one in has if one not in had]
    removed = [one for one in had if one not in has]
    result = {"id": job.webhook_id, "triggers": has}
    if not added and not removed and not job.outcome_unknown:
        return {**result, "outcome": "unchanged"}
    return {**result, "outcome": "updated", "added": added, "removed": removed}


def _refused(
    job: JobRecord, had: list[str], has: list[str], what: str, refusal: ApiFailure | None
) -> TriggersRefused:
    said = f" {refusal}" if refusal else ""
    return TriggersRefused(
        f"CometChat {what} as a trigger of webhook {job.webhook_id!r} of app {job.app_id!r}, which "
        f"has {shown(has) or 'none'} now.{said} Retry the job if the names are right after all, "
        "else set others.",
        status=refusal.status if refusal else None,
        code=refusal.code if refusal else None,
        api_message=refusal.api_message if refusal else None,
        result=_result(job, had, has),
    )
