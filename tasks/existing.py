"""What is done about a webhook that is there already: `on_existing` of a job.

Reading back shows id, name and URL, and perhaps `enabled`; no documented answer has the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tasks.answers import WebhookFound
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure, ApiUnavailable, WebhookConflict, WebhookNotFound
from tasks.passwords import open_password
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.stored_form import COMPARED, differing, foreign, mark_of

#: How often an update is sent that the API takes and does not carry out.
UPDATE_TRIES: Final = 2


def use_existing(
    api: CometChat,
    job: JobRecord,
    found: WebhookFound,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Take the webhook that is there, or bring it up to date, as the job asks.

    Returns:
        The webhook as the API has it, with its `outcome`, and `differs` as in `with_differences`.

    Raises:
        WebhookConflict: it is not to be taken; it was left as it is.
        ApiFailure: the update failed.
    """
    if job.more.on_existing == "update":
        return bring_up_to_date(api, job, found, progress=progress)
    if named := foreign_in(job, found, progress):
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} with another "
            f"{' and '.join(named)}; it was left as it is. Delete or update it at CometChat "
            "and retry the job, enqueue under another id, or forget the job and enqueue it with "
            "on_existing='update'."
        )
    if job.more.on_existing == "fail" and not job.outcome_unknown:
        raise WebhookConflict(
            f"App {job.app_id!r} has a webhook {job.webhook_id!r} already, and not from this job; "
            "it was left as it is, as on_existing='fail' asks. Delete it at CometChat and retry "
            "the job, or enqueue under another id."
        )
    return with_differences(job, {**found, "outcome": "existed"})


def foreign_in(job: JobRecord, found: Mapping[str, Any], progress: Progress) -> list[str]:
    """In which of name and URL this is no form of what the job asks for.

    Nothing is foreign in what the API has shown as the answer to a create call of this very job.
    """
    if progress.stored_form == mark_of(found):
        return []
    asked = {name: job.webhook[name] for name in COMPARED if name in job.webhook}
    return foreign(asked, found)


def with_differences(job: JobRecord, webhook: dict[str, Any]) -> dict[str, Any]:
    """The webhook with `differs`, the names of what the API shows otherwise than was asked for.

    Without it if there are none.
    """
    names = differing(job.webhook, webhook)
    return {**webhook, "differs": names} if names else webhook


def bring_up_to_date(
    api: CometChat,
    job: JobRecord,
    found: WebhookFound,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Send what the job asks for, if the webhook lacks any of it.

    An update that the API takes and does not carry out is sent once more, and then given up.

    Returns:
        The webhook as the API has it, with `outcome`: "updated", then with `changed`, the names of
        the fields that were sent, or "existed". `differs` is as `with_differences` has it.

    Raises:
        WebhookConflict: the API does not carry out the update.
        ApiFailure: the update failed.
    """
    password = open_password(job)  # which no answer shows: it may differ
    changes = changes_for(job.webhook, _as_asked(job, found, progress), always=password is not None)
    if not changes:
        return with_differences(job, {**found, "outcome": "existed"})
    if password is not None:
        changes |= {"useBasicAuth": True, "username": job.webhook["username"]}
        changes["password"] = password
    now: dict[str, Any] = {}
    for _ in range(UPDATE_TRIES):
        shown = _send(api, job, changes, progress)
        now = {**found, **{name: changes[name] for name in changes if name in found}, **shown}
        if _not_taken(job, now, Progress()):
            now = dict(_look_after(api, job))  # an answer may show what was, or be another call's
        now |= {"outcome": "updated", "changed": list(changes)}
        if not _not_taken(job, now, progress):
            return with_differences(job, now)
    raise WebhookConflict(
        f"CometChat took the update of webhook {job.webhook_id!r} of app {job.app_id!r} "
        f"{UPDATE_TRIES} times, and still shows another "
        f"{' and '.join(_not_taken(job, now, progress))} than is asked for. Look at the webhook at "
        "CometChat; if it can be changed there, retry the job, else ask for what CometChat takes.",
        result=with_differences(job, now),
    )


def changes_for(
    asked: Mapping[str, Any], found: Mapping[str, Any], *, always: bool = False
) -> dict[str, Any]:
    """What an update sends: all fields that a job asks for, or nothing if each is shown as asked.

    Whether the API keeps what an update does not name is not documented. What the job does not
    ask for is left to it.

    Args:
        asked: the job's fields by their wire names; the `id` cannot be changed.
        found: the webhook as the API shows it.
        always: whether all is sent in any case.
    """
    fields = {name: value for name, value in asked.items() if name != "id"}
    if always or fields.keys() - found.keys() or differing(fields, found):
        return fields
    return {}


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
    if any(name not in found for name in COMPARED):
        raise ApiUnavailable(
            f"CometChat's answer about webhook {job.webhook_id!r} of app {job.app_id!r} lacks its "
            "name or URL: whether it is as asked cannot be told."
        )
    return found


def read_back_after(api: CometChat, job: JobRecord) -> WebhookFound | None:
    """The same behind a call that may have changed it, which stays unknown if it cannot be read."""
    try:
        return read_back(api, job)
    except ApiFailure as failure:
        failure.outcome_unknown = True
        raise


def _not_taken(job: JobRecord, now: Mapping[str, Any], progress: Progress) -> list[str]:
    """In which fields the webhook is no form of what was sent."""
    return foreign(job.webhook, _as_asked(job, now, progress))


def _as_asked(job: JobRecord, found: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The webhook, with name and URL as asked for if they are what the API made of them."""
    if progress.stored_form != mark_of(found):
        return dict(found)
    return {**found, **{name: job.webhook[name] for name in COMPARED if name in job.webhook}}


def _send(
    api: CometChat,
    job: JobRecord,
    changes: Mapping[str, Any],
    progress: Progress,
) -> WebhookFound:
    version = job.webhook_version
    try:
        shown = api.update_webhook(job.app_id, job.webhook_id, changes, version=version)
    except WebhookNotFound:
        pass  # told below, where no exception is at hand to hold this very frame
    else:
        progress.changed = True
        return shown
    raise _deleted(job)


def _look_after(api: CometChat, job: JobRecord) -> WebhookFound:
    """The webhook after an update of which the answer shows another one."""
    found = read_back_after(api, job)
    if found is None:
        raise _deleted(job)
    return found


def _deleted(job: JobRecord) -> ApiUnavailable:
    return ApiUnavailable(
        f"Webhook {job.webhook_id!r} of app {job.app_id!r} was deleted while it was to be updated."
    )
