"""Make sure that a job's webhook exists at CometChat, whatever became of earlier calls.

Nothing here knows of Redis or Celery: it is decided by what the API answers. What is done about
one that is there already is in `tasks/existing.py`, the triggers are in `tasks/add_triggers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.add_triggers import with_triggers
from tasks.answers import WebhookFound
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure, ApiUnavailable, PlanLimit, WebhookNotFound, WebhookRejected
from tasks.existing import use_existing
from tasks.passwords import open_webhook
from tasks.progress import Progress
from tasks.record import JobRecord

#: What may mean "there is one already": no source tells how the API says so.
PERHAPS_A_DUPLICATE = frozenset({400, 409, 422})


def ensure(
    api: CometChat,
    job: JobRecord,
    *,
    before_call: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Create the webhook, unless it is there already, and add its triggers.

    Where an earlier outcome is unknown, and where the API answers what may mean "already
    there", the webhook is read back first; so an attempt goes on where an earlier one ended.

    Args:
        api: the account's client.
        job: what to create, and what to do if it exists.
        before_call: runs right before a call that creates or changes, unless this attempt has
            changed something already; what it raises, if the call may not be made, comes through.
        progress: is told what this attempt has done, however it ends.

    Returns:
        The webhook as the API has it, with `outcome`: "created", "existed" or "updated", then with
        `changed`, the names of the fields that were sent. If the job asks for triggers, all that
        the webhook has are in `triggers`.

    Raises:
        WebhookConflict: one with this id exists and differs, or was not to exist; nothing was
            overwritten.
        TriggersRefused: the webhook is there, and not all of its triggers.
        ApiFailure: the call failed.
    """
    progress = progress or Progress()
    webhook = _webhook(api, job, before_call, progress)
    if not job.more.triggers:
        return webhook
    return with_triggers(api, job, webhook, before_call=before_call, progress=progress)


def _webhook(
    api: CometChat, job: JobRecord, before_call: Callable[[], None], progress: Progress
) -> dict[str, Any]:
    """The webhook without its triggers: created, or found and as asked for."""
    if job.outcome_unknown and (found := read_back(api, job)):
        return use_existing(api, job, found, before_call=before_call, progress=progress)
    webhook = open_webhook(job)
    before_call()
    refusal: ApiFailure
    try:
        created = api.create_webhook(job.app_id, webhook, version=job.webhook_version)
    except WebhookRejected as error:
        if error.status not in PERHAPS_A_DUPLICATE:
            raise
        refusal = error.with_traceback(None)  # which holds this very frame
    except PlanLimit as error:
        # The app may be full of this webhook, too: a call that came late.
        refusal = error.with_traceback(None)
    else:
        progress.changed = True
        return {**created, "outcome": "created"}
    if found := read_back(api, job):
        return use_existing(api, job, found, before_call=before_call, progress=progress)
    raise refusal


def read_back(api: CometChat, job: JobRecord) -> WebhookFound | None:
    """The webhook that the API has with this id, nothing if it has none."""
    try:
        found = api.get_webhook(job.app_id, job.webhook_id, version=job.webhook_version)
    except WebhookNotFound:
        return None
    except ApiFailure as failure:
        failure.outcome_unknown = False  # reading has no effect to be unsure of
        if not failure.transient:  # it is the look that was refused, not the webhook
            failure.args = (f"Whether the webhook exists could not be read: {failure}",)
        raise
    if "name" not in found or "webhookURL" not in found:
        raise ApiUnavailable(
            f"CometChat's answer about webhook {job.webhook_id!r} of app {job.app_id!r} lacks its "
            "name or URL: whether it is as asked cannot be told."
        )
    return found
