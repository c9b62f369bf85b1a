"""What is done about a webhook that is there already: `on_existing` of a job.

Reading back shows id, name and URL, and perhaps `enabled`; no documented answer has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tasks.answers import WebhookFound
from tasks.cometchat import CometChat
from tasks.errors import ApiUnavailable, WebhookConflict, WebhookNotFound
from tasks.passwords import open_password
from tasks.progress import Progress
from tasks.record import JobRecord

#: What every answer about a webhook shows of it besides its id, so that it can be compared.
COMPARED = ("name", "webhookURL")


def use_existing(
    api: CometChat,
    job: JobRecord,
    found: WebhookFound,
    *,
    before_call: Callable[[], None],
    progress: Progress,
) -> dict[str, Any]:
    """Take the webhook that is there, or bring it up to date, as the job asks.

    Raises:
        WebhookConflict: it is not to be taken; it was left as it is.
        ApiFailure: the update failed.
    """
    if job.more.on_existing == "update":
        return bring_up_to_date(api, job, found, before_call=before_call, progress=progress)
    if differing := _differing(job, found):
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} with another "
            f"{' and '.join(differing)}; it was left as it is. Delete or update it at CometChat "
            "and retry the job, enqueue under another id, or forget the job and enqueue it with "
            "on_existing='update'."
        )
    if job.more.on_existing == "fail" and not job.outcome_unknown:
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} already, and not from this job; "
            "it was left as it is, as on_existing='fail' asks. Delete it at CometChat and retry "
            "the job, or enqueue under another id."
        )
    return {**found, "outcome": "existed"}


def changes_for(asked: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Of the fields that a job asks for, those to send: what differs, and what is not shown.

    What cannot be compared is sent as it is asked for; what is not asked for stays as it is.
    """
    return {name: value for name, value in asked.items() if found.get(name) != value}


def bring_up_to_date(
    api: CometChat,
    job: JobRecord,
    found: WebhookFound,
    *,
    before_call: Callable[[], None],
    progress: Progress,
) -> dict[str, Any]:
    """Send what the webhook lacks of what the job asks for, if anything.

    Returns:
        The webhook as the API has it, with `outcome`: "updated", then with `changed`, the names of
        the fields that were sent, or "existed".

    Raises:
        ApiFailure: the update failed.
    """
    changes = changes_for(job.webhook, found)
    password = open_password(job)
    if password is not None:  # which no answer shows: it may differ
        changes |= {"useBasicAuth": True, "username": job.webhook["username"]}
        changes["password"] = password
    if not changes:
        return {**found, "outcome": "existed"}
    before_call()
    version = job.webhook_version
    answer: WebhookFound | None = None
    with suppress(WebhookNotFound):
        answer = api.update_webhook(job.app_id, job.webhook_id, changes, version=version)
    if answer is None:
        raise ApiUnavailable(
            f"Webhook {job.webhook_id!r} of app {job.app_id!r} was deleted while it was to be "
            "updated."
        )
    progress.changed = True
    shown = {**found, **{name: changes[name] for name in changes if name in found}, **answer}
    if wrong := _differing(job, shown):
        raise ApiUnavailable(
            f"CometChat's answer to the update of webhook {job.webhook_id!r} of app "
            f"{job.app_id!r} shows another {' and '.join(wrong)} than is asked for.",
            outcome_unknown=True,
        )
    return {**shown, "outcome": "updated", "changed": list(changes)}


def _differing(job: JobRecord, found: Mapping[str, Any]) -> list[str]:
    compared = (name for name in COMPARED if name in job.webhook)
    return [name for name in compared if found.get(name) != job.webhook[name]]
