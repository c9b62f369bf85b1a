"""What can go wrong, one class each.

Two families. `ApiFailure` and its subclasses say how a call to CometChat's Management API
failed: `transient`, `account_wide` and the class say what the job does about it
(`tasks/backoff.py`). README's table "What happens when" has what people meet of them. The others
are told to the person who enqueued or asked.

Every message is a sentence for a person and holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from tasks.job import Job


class WebhookJobError(Exception):
    """The base of everything that this program raises on purpose."""


class Interrupted(Exception):
    """An attempt may not go on: its job waits, was cancelled, or is another's. No failure."""


class InvalidInput(WebhookJobError, ValueError):
    """A webhook, app id or option breaks a limit; the message names every bad field.

    `problems` maps each bad field to the limit that it broke.
    """

    def __init__(self, message: str, problems: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or {}


class JobConflict(WebhookJobError):
    """The same webhook of the same app was enqueued before, with other values.

    `fields` names the wire names of the fields that differ, never their values.
    """

    def __init__(self, message: str, job_id: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.fields = fields


class JobNotFound(WebhookJobError, LookupError):
    """There is no job with this id: never enqueued, or ended and past its RESULT_TTL."""


class StepRefused(WebhookJobError):
    """The job's state does not allow what was asked, such as retrying a job that succeeded."""


class StoreUnavailable(WebhookJobError):
    """Redis cannot be reached or refuses writes; nothing was half-done, repeating is harmless."""


class StoreRefused(StoreUnavailable):
    """Redis does not let this process in, or does not do this: a certificate or a user's rights are
    wrong, or the server lacks what the program needs."""


class RecordUnreadable(WebhookJobError):
    """A job's record in Redis is damaged; it was left as it is."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The record of job {job_id} is damaged and was left as it is: `python -m tasks check` "
            "says what is wrong with it, and what to do."
        )


class NotConfirmed(StoreUnavailable):
    """The job is recorded in Redis, but not confirmed to be as durable as asked.

    `job` is the job. Asking for the same again is harmless, and waits for a confirmation anew.
    """

    def __init__(self, job: Job, durability: str) -> None:
        where = "a replica" if durability == "replicas" else "Redis's append-only file"
        super().__init__(
            f"Recorded, not confirmed: job {job.id} (webhook {job.record.webhook_id!r} of app "
            f"{job.record.app_id!r}) is in Redis, but {where} did not confirm it in time. "
            "Repeat it to be sure, it is the same job; `python -m worker check` tells whether the "
            "server can confirm it at all."
        )
        self.job = job


class DurabilityUnavailable(WebhookJobError):
    """Redis cannot give the durability that was asked for; nothing was stored."""


class SealingUnavailable(WebhookJobError):
    """A password cannot be sealed or opened: a sealing key is missing."""


class SealedPasswordChanged(SealingUnavailable):
    """A sealed password was changed after it was sealed, or moved to where it does not belong."""


class ApiFailure(WebhookJobError):
    """A call to the API that did not succeed.

    Args:
        message: a sentence: what happened, to which webhook of which app. No secret in it.
        status: the HTTP status, None when no answer was read.
        code: the API's `error.code`, None when there was none.
        api_message: the API's own words, redacted and cut.
        retry_after: seconds to wait, as the API told, None when it did not.
        outcome_unknown: whether the call may have had its effect all the same.
        result: the webhook as it is at CometChat although the job failed, None if it is not there
            or nobody knows.
    """

    #: Whether waiting may help; what does not is final at once.
    transient: ClassVar[bool] = False
    #: Whether the failure is the account's, not the job's: then it uses up no attempt.
    account_wide: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        api_message: str | None = None,
        retry_after: float | None = None,
        outcome_unknown: bool = False,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.api_message = api_message
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown
        self.result = result


class ApiUnavailable(ApiFailure):
    """No connection, a timeout, a reset, 408, 425, 5xx, or an answer that cannot be read."""

    transient = True


class RateLimited(ApiFailure):
    """429 or ERR_TOO_MANY_REQUESTS: the call was not processed."""

    transient = True
    account_wide = True


#: CometChat, error codes: of these no other app of the account is free.
SURE_CODES = frozenset(
    {
        "AUTH_ERR_INVALID_SECRET_KEY",
        "AUTH_ERR_EMPTY_AUTH_HEADER",
        "AUTH_ERR_EMPTY_APIKEY",
        "AUTH_ERR_APIKEY_NOT_FOUND",
        "ERR_SUBSCRIPTION_EXPIRED",
    }
)


class AccountRejected(ApiFailure):
    """Credentials, certificate, host or redirect refused, or the account's subscription expired:
    no job of this account can succeed.

    It is `CallRefused` once another call of the account has succeeded.
    """

    transient = True
    account_wide = True

    @property
    def is_sure(self) -> bool:
        """Whether it is the account's for sure: its key, secret, certificate or subscription."""
        return self.status in (None, 401) or self.code in SURE_CODES


class CallRefused(ApiFailure):
    """The API refuses this job as it would an account, and accepts others of that account."""

    transient = True


class AccountUnknown(ApiFailure):
    """This worker has no credentials for the job's account; another may. Nothing was called."""

    transient = True
    account_wide = True


class AppNotFound(ApiFailure):
    """The app is unknown to the API; it may be seconds old."""

    transient = True


class WebhookNotFound(ApiFailure):
    """The app has no webhook with this id (ERR_WEBHOOK_NOT_FOUND)."""


class WebhookRejected(ApiFailure):
    """The API refuses the request: 400, 409, 422 and other 4xx."""


class RecordRefused(ApiFailure):
    """The job's record asks for what no producer lets through; nothing was called."""


class WebhookConflict(ApiFailure):
    """A webhook with this id exists and differs from what was asked for, or was not to exist.

    Or CometChat took an update of it and did not carry it out.
    """


class TriggersRefused(ApiFailure):
    """The webhook is there, but CometChat refused some of its triggers; the others stay."""


class Expired(ApiFailure):
    """The time that the job had (`expires_in`) is over; no call is made after it."""


class PlanLimit(ApiFailure):
    """The plan does not allow it: restriction, quota, the 26th webhook."""


class WorkerCrashed(ApiFailure):
    """The attempt ended in a fault of this program or of its process, not of the API."""

    transient = True


class PasswordUnreadable(ApiFailure):
    """The job's sealed password does not open with any of the worker's SEALING_PRIVATE_KEYS."""
