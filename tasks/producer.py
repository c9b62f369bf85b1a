"""What signup flows call: validate, seal, and add the record.

A call that returned has the job in Redis. Enqueueing the same webhook again is the same job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from config.settings import Durability, get_settings
from tasks.asked import Asked
from tasks.bounded import within
from tasks.checks import WebhookCheck
from tasks.conflict import conflict_with
from tasks.errors import (
    DurabilityUnavailable,
    InvalidInput,
    NotConfirmed,
    RecordUnreadable,
    SealingUnavailable,
    StoreUnavailable,
    WebhookJobError,
)
from tasks.fields import check_app_id
from tasks.job import Job
from tasks.jobs import DAMAGED, EXISTS, STEP_LIMIT, JobStore, slices
from tasks.more import More, OnExisting, Priority
from tasks.passwords import seal_password
from tasks.record import Added, NewJob, job_id
from tasks.store import get_store
from tasks.triggers import TriggerCheck
from tasks.webhook import Webhook

#: Seconds in which one step of enqueueing is done or refused.
ENQUEUE_SECONDS = 4.5

#: Jobs that share one confirmation, which may take as long as a sync of the append-only file.
CONFIRMED_TOGETHER = 2_000


class Enqueued(NamedTuple):
    """What became of one item of `enqueue_webhooks`: a job, or the error that kept it out.

    Or both: a job that is recorded, with `NotConfirmed`.
    """

    job: Job | None
    error: WebhookJobError | None
    is_new: bool


def enqueue_webhook(
    app_id: str,
    webhook: Webhook | Mapping[str, Any],
    *,
    webhook_version: int | None = 2,
    not_before: datetime | float | None = None,
    expires_in: timedelta | float | None = None,
    on_existing: OnExisting = "accept",
    allow_unknown_triggers: bool = False,
    account: str = "default",
    durability: Durability | None = None,
    priority: Priority = "interactive",
    group: str | None = None,
) -> Job:
    """Accept one webhook for creation.

    Args:
        app_id: the CometChat app to create it on.
        webhook: what to create; a mapping is validated first.
        webhook_version: 2, or None for a legacy webhook.
        not_before: when the first attempt may run: an aware datetime or unix seconds.
        expires_in: for how long from now on the webhook is wanted: a timedelta or seconds, above 0
            and at most ten years; by default for ever. What is not done by then fails as
            `Expired`, and no call goes on beyond it. Redis's clock counts.
        on_existing: what to do about a webhook that has this id already. "accept" (default): with
            the same name and URL it is a success, else `WebhookConflict`. "update": what differs
            is sent to it. "fail": it is a `WebhookConflict`, unless an earlier call of this job may
            have made it and it has the same name and URL.
        allow_unknown_triggers: take triggers whose names this version does not know.
        account: whose key and secret to use.
        durability: what to wait for: "memory" (Redis has it), "fsync" (its append-only file
            on disk too) or "replicas" (one replica too); by default ENQUEUE_DURABILITY.
        priority: "interactive" for a person who waits; "bulk" for what may take its time. Bulk
            jobs wait for interactive ones, and have a tenth of the turns in any case.
        group: bulk jobs of each group take turns: 1 to 100 printable characters, such as a
            tenant's name. By default those of each app do.

    Returns:
        The job: the existing one, as it stands, if the same webhook was enqueued before, and not
        deleted since (`delete_webhook`). It keeps the times that it had.

    Raises:
        InvalidInput: naming every bad field; nothing was stored.
        JobConflict: the webhook was enqueued before with other values, triggers or another
            `on_existing`.
        RecordUnreadable: it was enqueued before, and its record is damaged.
        SealingUnavailable: it has a password, and there is no key to seal it with, or to tell
            whether it is the one that it had.
        DurabilityUnavailable: this Redis cannot give it; nothing was stored.
        NotConfirmed: the job is recorded, but was not confirmed in time; it is in `job`.
        StoreUnavailable: Redis cannot be reached or refuses to write, within 5 s.
    """
    [outcome] = enqueue_webhooks(
        [(app_id, webhook)],
        webhook_version=webhook_version,
        not_before=not_before,
        expires_in=expires_in,
        on_existing=on_existing,
        allow_unknown_triggers=allow_unknown_triggers,
        account=account,
        durability=durability,
        priority=priority,
        group=group,
    )
    if outcome.error is not None:
        raise outcome.error
    assert outcome.job is not None  # nosec B101  # one of the two is always there
    return outcome.job


def enqueue_webhooks(
    items: Iterable[tuple[str, Webhook | Mapping[str, Any]]],
    *,
    webhook_version: int | None = 2,
    not_before: datetime | float | None = None,
    expires_in: timedelta | float | None = None,
    on_existing: OnExisting = "accept",
    allow_unknown_triggers: bool = False,
    account: str = "default",
    durability: Durability | None = None,
    priority: Priority = "bulk",
    group: str | None = None,
) -> list[Enqueued]:
    """Accept many webhooks, some hundreds in each step; bad ones do not stop good ones.

    Args:
        items: (app id, webhook) each; the options are those of `enqueue_webhook`, for all, but
            that these jobs are "bulk" unless told otherwise.

    Returns:
        An outcome for each item, in order. Once Redis cannot be reached, the rest of the items
        have `StoreUnavailable` as their error (`DurabilityUnavailable` if another server took
        over that cannot give it); enqueueing all of them again is harmless. Those that are
        recorded and not confirmed have both a job and `NotConfirmed`.

    Raises:
        InvalidInput: an option is wrong; nothing was stored.
        DurabilityUnavailable: this Redis cannot give it; nothing was stored.
    """
    durability = durability or get_settings().enqueue_durability
    items = list(items)
    try:
        asked = Asked.checked(
            webhook_version=webhook_version,
            not_before=not_before,
            account=account,
            on_existing=on_existing,
            expires_in=expires_in,
            allow_unknown_triggers=allow_unknown_triggers,
            durability=durability,
            priority=priority,
            group=group,
        )
    except InvalidInput as error:
        raise merged([error, *_problems_of_one(items)]) from None
    store = get_store()
    drafts = [_draft(item, asked) for item in items]
    outcomes: list[Enqueued] = []
    away: StoreUnavailable | DurabilityUnavailable | None = None
    together = STEP_LIMIT if durability == "memory" else CONFIRMED_TOGETHER
    for some in slices(drafts, together):
        if away is None:
            try:
                outcomes += _enqueue_step(store, some, durability)
                continue
            except StoreUnavailable as error:
                away = error
            except DurabilityUnavailable as error:
                if not outcomes:
                    raise
                away = error  # another server has taken over meanwhile
        refused = Enqueued(None, away, is_new=False)
        outcomes += [refused if isinstance(draft, NewJob) else draft for draft in some]
    return outcomes


def get_job(job_id: str) -> Job:
    """The job with this id. Raises `JobNotFound` or `StoreUnavailable`."""
    store = get_store()
    return Job(store.get(job_id), store)


def enqueue_new(new: NewJob, durability: Durability) -> Enqueued:
    """Enqueue one job that was checked. Raises `StoreUnavailable` or `DurabilityUnavailable`."""
    [outcome] = _enqueue_step(get_store(), [new], durability)
    return outcome


def _enqueue_step(
    store: JobStore, drafts: Sequence[NewJob | Enqueued], durability: Durability
) -> list[Enqueued]:
    """Enqueue as many as are confirmed together."""
    new = [draft for draft in drafts if isinstance(draft, NewJob)]
    with within(ENQUEUE_SECONDS):
        added, confirmed = store.add(new, durability=durability)
    outcomes = map(partial(_enqueued, store, None if confirmed else durability), new, added)
    return [next(outcomes) if isinstance(draft, NewJob) else draft for draft in drafts]


def _draft(item: Any, asked: Asked) -> NewJob | Enqueued:
    """The record to write for one item, or why there is none."""
    problem: WebhookJobError
    try:
        app_id, webhook = item
    except (TypeError, ValueError):
        problem = InvalidInput("each item must be a pair: (app id, webhook)")
        return Enqueued(None, problem, is_new=False)
    try:
        checked = _checked(app_id, webhook, asked)
        wire = checked.wire()
        sealed = seal_password(checked.password, account=asked.account, app_id=app_id, webhook=wire)
        return NewJob(
            id=job_id(asked.account, app_id, checked.id),
            not_before=asked.not_before,
            account=asked.account,
            app_id=app_id,
            webhook=wire,
            sealed_password=sealed.text if sealed else None,
            marks=sealed.marks if sealed else (),
            webhook_version=asked.webhook_version,
            more=More(
                priority=asked.priority,
                group=asked.group,
                on_existing=asked.on_existing,
                triggers=checked.triggers,
            ),
            expires_in=asked.expires_in,
        )
    except WebhookJobError as error:
        return Enqueued(None, error, is_new=False)


def _checked(app_id: object, webhook: Any, asked: Asked) -> Webhook:
    """The webhook. Raises `InvalidInput` naming every bad field, a bad app id among them."""
    bad: list[InvalidInput] = []
    try:
        check_app_id(app_id)
    except InvalidInput as error:
        bad.append(error)
    try:
        checked = webhook if isinstance(webhook, Webhook) else Webhook.parse(webhook)
        triggers = TriggerCheck(asked.webhook_version, asked.allow_unknown_triggers)
        bad += WebhookCheck(triggers, get_settings().webhook_url_allow).problems(checked)
    except InvalidInput as error:
        bad.append(error)
    if bad:
        raise merged(bad)
    return checked


def _problems_of_one(items: Sequence[Any]) -> Sequence[InvalidInput]:
    """What is wrong with an item that is enqueued alone, to be told with all else.

    Of its triggers only their shape: which are known depends on options, of which some are wrong.
    """
    draft = _draft(items[0], Asked(allow_unknown_triggers=True)) if len(items) == 1 else None
    wrong = draft.error if isinstance(draft, Enqueued) else None
    return [wrong] if isinstance(wrong, InvalidInput) else []


def merged(errors: Sequence[InvalidInput]) -> InvalidInput:
    """One error that tells all of these."""
    problems = {name: words for error in errors for name, words in error.problems.items()}
    return InvalidInput("; ".join(map(str, errors)), problems)


def _enqueued(
    store: JobStore, unconfirmed: Durability | None, asked: NewJob, added: Added
) -> Enqueued:
    """The job for what was asked, unless it was asked before with other values."""
    if added.place == DAMAGED:
        return Enqueued(None, RecordUnreadable(asked.id), is_new=False)
    record, is_new = added.record, added.place != EXISTS
    try:
        conflict = None if is_new else conflict_with(record, asked)
    except SealingUnavailable as error:
        return Enqueued(None, error, is_new=False)
    if conflict is not None:
        return Enqueued(None, conflict, is_new=False)
    job = Job(record, store)
    doubt = NotConfirmed(job, unconfirmed) if unconfirmed else None
    return Enqueued(job, doubt, is_new)
