"""Make sure that a job's webhook exists at CometChat, whatever became of earlier calls.

It is decided by what the API answers, what the job asks for and what is known of earlier attempts;
Redis and Celery are not touched. What is done about a webhook that is there already is in
`tasks/existing.py`, the triggers are in `tasks/add_triggers.py`.
"""

from __future__ import annotations

from typing import Any

from tasks.add_triggers import with_triggers
from tasks.answers import WebhookFound
from tasks.cometchat import CometChat
from tasks.error_codes import is_known
from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    PlanLimit,
    WebhookRejected,
)
from tasks.existing import (
    foreign_in,
    read_back,
    read_back_after,
    use_existing,
    with_differences,
)
from tasks.passwords import open_webhook
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.stored_form import mark_of
from tasks.turn import Held


def ensure(
    api: CometChat,
    job: JobRecord,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Create the webhook, unless it is there already, and add its triggers.

    Where an earlier outcome is unknown, and where the API refuses what may be there already, the
    webhook is read back first; so an attempt goes on where an earlier one ended.

    Args:
        api: the account's client.
        job: what to create, and what to do if it exists.
        progress: is told what this attempt has done, however it ends.

    Returns:
        The webhook as the API has it, with `outcome`: "created", "existed" or "updated", then with
        `changed`, the names of the fields that were sent. What the API shows otherwise than the job
        asks for is named in `differs`. If the job asks for triggers, all that the webhook has are
        in `triggers`.

    Raises:
        WebhookConflict: one with this id exists and differs, or was not to exist; nothing was
            overwritten. Or an update is not carried out.
        TriggersRefused: the webhook is there, and not all of its triggers.
        ApiFailure: the call failed.
    """
    progress = progress or Progress()
    webhook = _webhook(api, job, progress)
    if not job.more.triggers:
        return webhook
    return with_triggers(api, job, webhook, progress=progress)


def _webhook(api: CometChat, job: JobRecord, progress: Progress) -> dict[str, Any]:
    """The webhook without its triggers: created, or found and as asked for."""
    progress.stored_form = progress.stored_form or stored_form_of(job)
    if job.outcome_unknown and (found := read_back(api, job)):
        return use_existing(api, job, found, progress=progress)
    webhook = open_webhook(job)
    refusal: ApiFailure
    try:
        created = api.create_webhook(job.app_id, webhook, version=job.webhook_version)
    except (WebhookRejected, PlanLimit, AccountRejected) as error:
        if isinstance(error, AccountRejected) and not _may_be_about_the_webhook(error):
            raise
        refusal = error.with_traceback(None)  # which holds this very frame
    else:
        progress.changed = True
        created = _looked_at(api, job, created, progress)
        if foreign_in(job, created, progress):  # the answer was another call's
            return use_existing(api, job, created, progress=progress)
        return with_differences(job, {**created, "outcome": "created"})
    # No source tells how the API says that there is one already. A full app may be full of this
    # webhook, too: by a call that came late.
    try:
        there = read_back(api, job)
    except Held:
        if not isinstance(refusal, AccountRejected):
            raise
        there = None  # the gate that is closed by such refusals is to hear of this one
    if there:
        return use_existing(api, job, there, progress=progress)
    raise refusal


def stored_form_of(job: JobRecord) -> str:
    """What an earlier attempt noted in the job's history as `Progress.stored_form`, if one did."""
    marks = (entry.get("stored_form") for entry in reversed(job.history))
    return next((mark for mark in marks if isinstance(mark, str)), "")


def _may_be_about_the_webhook(refusal: AccountRejected) -> bool:
    """Whether an API that has no better word may mean a webhook that is there already."""
    return refusal.status == 403 and not is_known(refusal.code)


def _looked_at(
    api: CometChat, job: JobRecord, created: WebhookFound, progress: Progress
) -> WebhookFound:
    """What a create call made, by its answer, which has this job's id.

    If that shows a name or URL that is no form of what was sent, the API may store it so, or the
    answer may be another call's: a look tells. Also if an earlier answer showed the same, which
    may have been another call's, too.
    """
    if not foreign_in(job, created, Progress()):
        return created
    progress.stored_form = mark_of(created)
    found = read_back_after(api, job)
    if found is None:
        raise ApiUnavailable(
            f"CometChat answered that it created webhook {job.webhook_id!r} of app {job.app_id!r}, "
            "with another name or URL, and has no such webhook.",
            outcome_unknown=True,
        )
    return found
