"""Make sure that a job's webhook exists at CometChat, whatever became of earlier calls.

Nothing here knows of Redis or Celery: it is decided by what the API answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.cometchat import CometChat
from tasks.errors import (
    ApiFailure,
    ApiUnavailable,
    PasswordUnreadable,
    PlanLimit,
    SealingUnavailable,
    WebhookConflict,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.record import JobRecord
from tasks.sealing import get_sealer
from tasks.webhook import Webhook

#: What may mean "there is one already": no source tells how the API says so.
PERHAPS_A_DUPLICATE = frozenset({400, 409, 422})


def ensure(
    api: CometChat, job: JobRecord, *, before_call: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Create the webhook, unless it is there already as asked.

    Where an earlier outcome is unknown, and where the API answers what may mean "already
    there", the webhook is read back first. `before_call` runs right before the call that
    creates; what it raises, if the call may not be made, comes through.

    Raises:
        WebhookConflict: one with this id exists and differs; nothing was overwritten.
        ApiFailure: the call failed.
    """
    if job.outcome_unknown and (found := read_back(api, job)):
        return found
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
        return {**created, "outcome": "created"}
    if found := read_back(api, job):
        return found
    raise refusal


def read_back(api: CometChat, job: JobRecord) -> dict[str, Any] | None:
    """The webhook if the API has it as asked, nothing if it has none with this id."""
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
    differing = [name for name in ("name", "webhookURL") if found.get(name) != job.webhook[name]]
    if differing:
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} with another "
            f"{' and '.join(differing)}; it was left as it is. Delete or update it at CometChat "
            "and retry the job, or enqueue under another id."
        )
    return {**found, "outcome": "existed"}


def open_webhook(job: JobRecord) -> Webhook:
    """The webhook with its password, for the call alone."""
    if job.sealed_password is None:
        return Webhook.parse(job.webhook)
    try:
        return Webhook.parse({**job.webhook, "password": get_sealer().open(job.sealed_password)})
    except SealingUnavailable as error:
        problem = str(error)
    raise PasswordUnreadable(
        f"Webhook {job.webhook_id!r} of app {job.app_id!r} was not created: {problem} "
        "Then retry the job."
    )
