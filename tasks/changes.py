"""What producers call to update or delete a webhook, or to set its triggers.

Each is a job like that which creates one, and the jobs of a webhook run in the order in which they
were accepted, one after the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict, Unpack

from pydantic import SecretStr

from config.settings import Durability, get_settings
from tasks.asked import Asked
from tasks.changed_fields import check_changes
from tasks.errors import InvalidInput
from tasks.fields import check_app_id, check_webhook_id
from tasks.job import Job
from tasks.more import Action, More, Priority
from tasks.passwords import seal_password
from tasks.producer import Enqueued, enqueue_new, merged
from tasks.record import NewJob, job_id
from tasks.store import get_store
from tasks.triggers import TriggerCheck, trigger_ids


class Options(TypedDict, total=False):
    """What each takes besides, as `enqueue_webhook` does and describes.

    `webhook_version` is that of the webhook meant: 2 (default), or None for a legacy one. After
    `expires_in` nobody needs what is asked for.
    """

    webhook_version: int | None
    not_before: datetime | float | None
    expires_in: timedelta | float | None
    account: str
    durability: Durability | None
    priority: Priority
    group: str | None


class _Wanted(NamedTuple):
    """What a job is to do: the webhook's fields as on the wire, without the password."""

    wire: Mapping[str, Any]
    password: SecretStr | None = None
    triggers: tuple[str, ...] = ()


def update_webhook(
    app_id: str, webhook_id: str, changes: Mapping[str, Any], **options: Unpack[Options]
) -> Job:
    """Accept a change of a webhook's fields.

    Args:
        app_id: the CometChat app that has it.
        webhook_id: its id, which cannot be changed.
        changes: new values by Python's names or the API's, as `Webhook` takes them: `name`,
            `webhook_url`, `enabled`, `retry_on_failure`, `username` with `password`, and
            `use_basic_auth`, false to end basic auth. What is not named stays as it is.
        **options: those of `enqueue_webhook` that are in `Options`.

    Returns:
        The job, which runs once all earlier ones of this webhook have ended, however they did. If
        the latest of these has not ended and asks for the very same, it is that one (but not if
        that is for later or may expire). Its result's `outcome` is "updated", then with the names
        of the fields that were sent in `changed`, or "unchanged"; without this webhook it fails as
        `WebhookNotFound`.

    Raises:
        InvalidInput: naming every bad field; nothing was stored. And what else `enqueue_webhook`
            raises, but `JobConflict`.
    """

    def wanted(_asked: Asked) -> _Wanted:
        return _Wanted(*check_changes(webhook_id, changes, get_settings().webhook_url_allow))

    return _enqueue("update", app_id, webhook_id, wanted, options)


def delete_webhook(app_id: str, webhook_id: str, **options: Unpack[Options]) -> Job:
    """Accept the deletion of a webhook.

    Args, what is returned and what is raised are those of `update_webhook`. The result's `outcome`
    is "deleted", or "absent" if the app had no such webhook, which is a success, too. Enqueueing
    the webhook from then on is a new job, which runs after this one.
    """
    return _enqueue("delete", app_id, webhook_id, lambda _: _Wanted({}), options)


def set_triggers(
    app_id: str,
    webhook_id: str,
    triggers: Iterable[str],
    *,
    allow_unknown_triggers: bool = False,
    **options: Unpack[Options],
) -> Job:
    """Accept that a webhook is to have exactly these triggers.

    Args:
        app_id: the CometChat app that has it.
        webhook_id: its id.
        triggers: names as in `Webhook`, in any order; without any it delivers nothing.
        allow_unknown_triggers: take triggers whose names this version does not know.
        **options: those of `enqueue_webhook` that are in `Options`.

    What is returned and what is raised are those of `update_webhook`. The result has all `triggers`
    of the webhook, and those `added` and `removed` if its `outcome` is "updated"; else that is
    "unchanged". What CometChat refuses makes the job fail as `TriggersRefused`, which names it.
    """

    def wanted(asked: Asked) -> _Wanted:
        names = tuple(sorted(_names(webhook_id, triggers)))
        TriggerCheck(asked.webhook_version, asked.allow_unknown_triggers)(names, str(webhook_id))
        return _Wanted({}, triggers=names)

    asked_for: dict[str, Any] = {**options, "allow_unknown_triggers": allow_unknown_triggers}
    return _enqueue("set_triggers", app_id, webhook_id, wanted, asked_for)


def latest_job(app_id: str, webhook_id: str, *, account: str = "default") -> Job:
    """The latest job of a webhook. Raises `JobNotFound` or `StoreUnavailable`."""
    store = get_store()
    return Job(store.get(store.latest_of(job_id(account, app_id, webhook_id))), store)


def _enqueue(
    action: Action,
    app_id: str,
    webhook_id: str,
    wanted: Callable[[Asked], _Wanted],
    options: Mapping[str, Any],
) -> Job:
    durability = options.get("durability") or get_settings().enqueue_durability
    bad: list[InvalidInput] = []
    asked, what = Asked(allow_unknown_triggers=True), _Wanted({})
    try:
        asked = _asked(durability, options)
    except InvalidInput as error:
        bad.append(error)
    for check in (
        lambda: check_app_id(app_id),
        lambda: check_webhook_id(webhook_id),
        lambda: wanted(asked),
    ):
        try:
            checked = check()
            what = checked if isinstance(checked, _Wanted) else what
        except InvalidInput as error:
            bad.append(error)
    if bad:
        raise merged(bad)
    own_id, wire = str(uuid.uuid4()), {"id": webhook_id, **what.wire}
    sealed = seal_password(
        what.password,
        account=asked.account,
        app_id=app_id,
        webhook=wire,
        action=action,
        own_id=own_id,
    )
    new = NewJob(
        id=own_id,
        not_before=asked.not_before,
        account=asked.account,
        app_id=app_id,
        webhook=wire,
        sealed_password=sealed.text if sealed else None,
        marks=sealed.marks if sealed else (),
        webhook_version=asked.webhook_version,
        more=More(
            priority=asked.priority, group=asked.group, triggers=what.triggers, action=action
        ),
        expires_in=asked.expires_in,
        chain=job_id(asked.account, app_id, webhook_id),
    )
    outcome: Enqueued = enqueue_new(new, durability)
    if outcome.error is not None:
        raise outcome.error
    assert outcome.job is not None  # nosec B101  # one of the two is always there
    return outcome.job


def _asked(durability: Durability, options: Mapping[str, Any]) -> Asked:
    defaults: dict[str, Any] = {
        "webhook_version": 2,
        "not_before": None,
        "expires_in": None,
        "account": "default",
        "allow_unknown_triggers": False,
        "priority": "interactive",
        "group": None,
    }
    if unknown := options.keys() - defaults.keys() - {"durability"}:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
    given = {**defaults, **options, "durability": durability}
    return Asked.checked(**given, on_existing="accept")


def _names(webhook_id: object, triggers: Any) -> tuple[str, ...]:
    names = (
        triggers if isinstance(triggers, str) or not isinstance(triggers, Iterable) else [*triggers]
    )
    if names == []:
        return ()
    try:
        return trigger_ids(names)
    except ValueError as error:
        problem = str(error)
    raise InvalidInput(f"webhook {webhook_id!r}: triggers: {problem}", {"triggers": problem})
