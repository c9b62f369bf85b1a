"""What the sandbox answers: success in every documented shape, and the error envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

#: How an answer wraps one webhook. CometChat's documentation of create, get and update
#: disagrees with itself: its examples and schemas show all of these but `object`, which is how
#: its other operations answer.
Shape = Literal["object", "list", "nested", "inner_list", "empty_key"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the bytes of a body; JSON unless `headers` tell another Content-Type."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A call that the API refuses.

    Args:
        status: the HTTP status.
        code: the envelope's `error.code`, None for an envelope without one.
        message: a sentence for a person.
        details: each bad field with its complaints, as answers to bad requests carry them.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        details: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def answer(self, headers: dict[str, str] | None = None) -> Answer:
        """Return the answer that tells this error."""
        error: dict[str, Any] = {"message": self.message}
        if self.code is not None:
            error["devMessage"] = self.message
            error["source"] = "management-api"
            error["code"] = self.code
        if self.details:
            error["details"] = self.details
        return Answer(self.status, encode({"error": error}), headers or {})


def bad_request(details: dict[str, list[str]], status: int = 400) -> ApiError:
    """Return the error of a body that breaks a limit; `details` holds each field's complaints."""
    message = "Failed to validate the data sent with the request."
    return ApiError(status, "ERR_BAD_REQUEST", message, details)


def not_an_api(method: str, path: str) -> ApiError:
    """Return the error of a method and path that the API does not have."""
    return ApiError(404, "ERR_API_NOT_FOUND", f"The API {method} {path} does not exist.")


def success(payload: Any) -> Answer:
    """Return 200, the only status with which CometChat documents success, and the payload."""
    return Answer(200, encode(payload))


def wrap(webhook: dict[str, Any], shape: Shape) -> Any:
    """Return one webhook wrapped as `shape` says."""
    match shape:
        case "object":
            return {"data": webhook}
        case "list":
            return [{"data": webhook}]
        case "nested":
            return {"data": [{"data": webhook}]}
        case "inner_list":
            return {"data": [webhook]}
        case "empty_key":
            return {"data": {"": webhook}}


_encoder = json.JSONEncoder(separators=(",", ":"))


def encode(payload: Any) -> bytes:
    """Return the payload as JSON in UTF-8, without blanks."""
    return _encoder.encode(payload).encode()
