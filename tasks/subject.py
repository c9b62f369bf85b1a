"""What a call is about, and what a person is told of its failure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    PlanLimit,
    RateLimited,
    WebhookNotFound,
    WebhookRejected,
)


@dataclass(frozen=True)
class Subject:
    """What a call is about; `webhook_id` is None for all of an app's webhooks."""

    app_id: str
    webhook_id: str | None = None
    creating: bool = False
    below: str = ""  # of the webhook's path, such as /triggers

    def __str__(self) -> str:
        webhook = "the webhooks" if self.webhook_id is None else f"webhook {self.webhook_id!r}"
        return f"{webhook} of app {self.app_id!r}"


_SENTENCES: dict[type[ApiFailure], str] = {
    ApiUnavailable: "CometChat is unavailable for {subject}: {told}",
    RateLimited: "CometChat's rate limit was reached at {subject}: {told}",
    AccountRejected: "CometChat refused this account's call for {subject}: {told} {to_do}",
    AppNotFound: "CometChat has no app {subject.app_id!r}, wanted for {subject}: {told}",
    WebhookNotFound: "CometChat has no {subject}: {told}",
    WebhookRejected: "CometChat refused {subject}: {told}",
    PlanLimit: "CometChat's plan does not allow {what}{subject}: {told} {to_do}",
}
_TO_DO: dict[type[ApiFailure], str] = {
    AccountRejected: (
        "Check COMETCHAT_KEY and COMETCHAT_SECRET, and that COMETCHAT_BASE_URL is right."
    ),
    PlanLimit: (
        "Raise or renew the plan, or delete a webhook of the app (25 are the most that CometChat "
        "documents), then retry the job."
    ),
}
_TO_DO_OF_CODE: dict[str | None, str] = {
    "ERR_SUBSCRIPTION_EXPIRED": (
        "Renew the subscription at CometChat: the jobs of this account wait until then."
    ),
    "ERR_INVALID_API_VERSION": (
        "Check that COMETCHAT_BASE_URL is right, without a version, and which webhook_version "
        "the jobs ask for."
    ),
}
_TO_DO_OF_TRIGGERS: dict[type[ApiFailure], str] = {
    PlanLimit: (
        "Raise the plan, then retry the job, or forget it and ask for triggers that the plan has."
    )
}


def sentence(
    kind: type[ApiFailure], subject: Subject, told: str, *, code: str | None = None
) -> str:
    """What a person is told of a failure of this kind; `told` says what happened."""
    told = told if told.endswith((".", ".)")) else told + "."
    of_triggers = bool(subject.below)
    to_do = (
        _TO_DO_OF_CODE.get(code)
        or (_TO_DO_OF_TRIGGERS.get(kind) if of_triggers else None)
        or _TO_DO.get(kind, "")
    )
    what = "these triggers of " if of_triggers else ""
    return _SENTENCES[kind].format(subject=subject, told=told, to_do=to_do, what=what)
