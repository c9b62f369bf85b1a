"""Change or delete a webhook that is at CometChat, whatever became of earlier calls.

To update twice is to update once, and what is deleted stays so: an unknown outcome is resolved by
looking, or by the same call again.
"""

from __future__ import annotations

from typing import Any

from tasks.cometchat import CometChat
from tasks.errors import WebhookNotFound
from tasks.existing import bring_up_to_date, read_back
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.verbs import VERBS


def update(api: CometChat, job: JobRecord, *, progress: Progress) -> dict[str, Any]:
    """Send what the job asks for, if any of it differs or is shown by no answer.

    Returns:
        The webhook as the API has it, with `outcome`: "updated", then with `changed`, the names of
        the fields that were sent, or "unchanged". What the API shows otherwise than the job asks
        for is named in `differs`.

    Raises:
        WebhookNotFound: the app has no such webhook.
        WebhookConflict: the API does not carry out the update.
        ApiFailure: a call failed.
    """
    found = read_back(api, job)
    if found is None:
        raise not_found(job)
    now = bring_up_to_date(api, job, found, progress=progress)
    if now["outcome"] == "updated":
        return now
    if job.outcome_unknown:  # an earlier call of this job may have made it so
        asked = [name for name in job.webhook if name != "id"]
        return {**now, "outcome": "updated", "changed": asked}
    return {**now, "outcome": "unchanged"}


def delete(api: CometChat, job: JobRecord, *, progress: Progress) -> dict[str, Any]:
    """Delete the webhook.

    Returns:
        The webhook's `id`, with `outcome`: "deleted", or "absent" if there was none. Where an
        earlier call may have had its effect, one that is not there was deleted by that.

    Raises:
        ApiFailure: the call failed.
    """
    outcome = "deleted"
    try:
        api.delete_webhook(job.app_id, job.webhook_id, version=job.webhook_version)
        progress.changed = True
    except WebhookNotFound:
        outcome = "deleted" if job.outcome_unknown else "absent"
    return {"id": job.webhook_id, "outcome": outcome}


def not_found(job: JobRecord) -> WebhookNotFound:
    """What to say of a webhook that is to be changed and is not there."""
    return WebhookNotFound(
        f"App {job.app_id!r} has no webhook {job.webhook_id!r}: there was nothing to "
        f"{VERBS[job.more.action].to_do}. Enqueue the webhook with what it is to have, or "
        "create it at CometChat and retry the job."
    )
