"""Which class of failure an answer means: by its `error.code` first, then by its status."""

from __future__ import annotations

from typing import Final

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

#: CometChat, error guide and management API error codes; the HTTP status is seldom documented.
_CODES: dict[type[ApiFailure], str] = {
    ApiUnavailable: (
        "ERR_MISSION_FAILED ERR_OPERATION_FAILED ERR_EXCEPTION ERR_BAD_ERROR_RESPONSE"
    ),
    RateLimited: "ERR_TOO_MANY_REQUESTS",
    AccountRejected: (
        "AUTH_ERR_INVALID_SECRET_KEY AUTH_ERR_EMPTY_AUTH_HEADER AUTH_ERR_NO_ACCESS "
        "AUTH_ERR_EMPTY_APIKEY AUTH_ERR_APIKEY_NOT_FOUND "
        "ERR_API_NOT_FOUND ERR_INVALID_API_VERSION ERR_SUBSCRIPTION_EXPIRED"
    ),
    AppNotFound: "ERR_APP_NOT_FOUND AUTH_ERR_INVALID_APPID AUTH_ERR_EMPTY_APPID ERR_APP_ARCHIVED",
    WebhookNotFound: "ERR_WEBHOOK_NOT_FOUND",
    PlanLimit: "ERR_PLAN_RESTRICTION ERR_PLAN_QUOTA_RESTRICTION",
    WebhookRejected: "ERR_BAD_REQUEST ERR_TRIGGER_NOT_FOUND ERR_TRIGGER_DOES_NOT_EXIST",
}
_CLASS_OF_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
#: How CometChat names the codes of ids that are taken (of users, bots, imports; for webhooks none
#: is documented), and those about the credentials.
ALREADY_EXISTS: Final = "_ALREADY_EXISTS"
OF_CREDENTIALS: Final = "AUTH_ERR_"


def class_of_code(status: int, code: str | None) -> type[ApiFailure] | None:
    """What the code says, whatever the status; None if it is unknown, or says less than that."""
    code = code or ""
    if code.endswith(ALREADY_EXISTS):
        return WebhookRejected
    if code == "ERR_BAD_REQUEST" and status >= 500:
        return None  # it is the server that is in trouble
    if code.startswith(OF_CREDENTIALS):
        return _CLASS_OF_CODE.get(code, AccountRejected)
    return _CLASS_OF_CODE.get(code)


def class_of_status(status: int, code: str | None, body: bytes | None) -> type[ApiFailure]:
    """What the status says; `body` is None if it could not be read."""
    if status == 429:
        return RateLimited
    if 300 <= status < 400:
        return AccountRejected
    if body is None or status in (408, 425) or not 400 <= status < 500:
        return ApiUnavailable
    if status in (401, 403) or (status == 404 and code is None):
        return AccountRejected
    return WebhookRejected


def is_documented(code: str) -> bool:
    """Whether it is one of the codes that CometChat documents, letter by letter."""
    return code in _CLASS_OF_CODE


def is_known(code: str | None) -> bool:
    """Whether an answer with this code is decided by it, not by the status."""
    return class_of_code(0, code) is not None


def refuses_credentials(failure: ApiFailure) -> bool:
    """Whether another pair of key and secret may be accepted where this one was refused."""
    if not isinstance(failure, AccountRejected):
        return False
    if is_known(failure.code):
        return (failure.code or "").startswith(OF_CREDENTIALS)
    return failure.status in (401, 403)
