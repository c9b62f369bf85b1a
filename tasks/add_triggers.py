"""Add what is missing of the triggers that a job asks for, once its webhook is there.

The call that creates has no field for them. Adding one that is there does no harm, so nothing has
to be known of earlier calls but what the API shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tasks.cometchat import CometChat
from tasks.errors import (
    ApiFailure,
    ApiUnavailable,
    TriggersRefused,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.progress import Progress
from tasks.record import JobRecord

#: Names in one sentence.
SHOWN: Final = 20


def with_triggers(
    api: CometChat,
    job: JobRecord,
    webhook: dict[str, Any],
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The webhook with all of its `triggers`, now that it has those that the job asks for.

    What is raised knows the webhook as its `result`, as it is there whatever becomes of them.

    Raises:
        TriggersRefused: the API refused some; what succeeded stays.
        ApiFailure: a call failed.
    """
    known = dict(webhook)
    try:
        if webhook["outcome"] != "created":
            known["triggers"] = listed(api, job)
        missing = [one for one in job.more.triggers if one not in known.get("triggers", ())]
        if not missing:
            return known
        all_added, refusal = add(api, job, missing)
        progress.changed = True
        if all_added:
            return {**known, "triggers": [*known.get("triggers", ()), *missing]}
        # What it has is what counts, not how an answer is to be read.
        known["triggers"] = listed(api, job)
        if not (refused := [one for one in missing if one not in known["triggers"]]):
            return known
        raise _refused(job, known["triggers"], refused, refusal)
    except WebhookNotFound:
        pass  # told below, where no exception is at hand to hold this very frame
    except ApiFailure as failure:
        failure.result = known
        failure.outcome_unknown = True  # so that it is looked for, not created, in the next attempt
        if not isinstance(failure, TriggersRefused):
            failure.args = (
                f"Webhook {job.webhook_id!r} of app {job.app_id!r} is there, its triggers may not "
                f"be: {failure}",
            )
        raise
    raise ApiUnavailable(
        f"Webhook {job.webhook_id!r} of app {job.app_id!r} was deleted before its triggers were "
        "added.",
        outcome_unknown=True,
    )


def add(
    api: CometChat, job: JobRecord, missing: Sequence[str]
) -> tuple[bool, WebhookRejected | None]:
    """Whether the API took all of them, and what it said if it refused the call itself."""
    version = job.webhook_version
    try:
        added = api.add_triggers(job.app_id, job.webhook_id, missing, version=version)
    except WebhookRejected as refusal:
        return False, refusal.with_traceback(None)  # which holds this very frame
    return all(added.values()), None


def listed(api: CometChat, job: JobRecord) -> list[str]:
    """The triggers that the webhook has at CometChat."""
    return api.list_triggers(job.app_id, job.webhook_id, version=job.webhook_version)


def _refused(
    job: JobRecord, has: Sequence[str], refused: Sequence[str], refusal: WebhookRejected | None
) -> TriggersRefused:
    said = f" {refusal}" if refusal else ""
    return TriggersRefused(
        f"CometChat refused triggers of webhook {job.webhook_id!r} of app {job.app_id!r}: "
        f"{shown(refused)}. The webhook is there and has {shown(has) or 'none'}.{said} Retry "
        "the job if they are right after all, else forget it and enqueue the webhook with others.",
        status=refusal.status if refusal else None,
        code=refusal.code if refusal else None,
        api_message=refusal.api_message if refusal else None,
    )


def shown(names: Sequence[str]) -> str:
    """Names in a sentence, not too many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
