"""The limits that CometChat documents for a webhook's fields.

The numbers are from CometChat's webhooks overview and its page of properties and constraints.
What no page states is decided strictly, so that a client which passes here is careful: a field
that is null or of another type is refused, and Basic Auth needs both its fields.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from worker.sandbox.answers import bad_request

#: CometChat's webhooks overview: at most 25 webhooks an app.
MAX_WEBHOOKS_PER_APP: Final = 25
#: CometChat's webhooks overview: the most characters of each field.
MAX_LENGTHS: Final = {"id": 50, "name": 50, "webhookURL": 255, "username": 50, "password": 100}

#: The overview says "alphanumeric, no spaces"; its own example `test_webhook201` has a `_`.
_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_ALPHANUMERIC: Final = re.compile(r"[A-Za-z0-9]+")
_URL_CHARACTERS: Final = re.compile(r"[!-~]+")

_STRINGS: Final = ("id", "name", "webhookURL", "username", "password")
_BOOLEANS: Final = ("useBasicAuth", "enabled", "retryOnFailure")
_REQUIRED: Final = ("id", "name", "webhookURL")

#: What a webhook has where create does not say. `retryOnFailure` is documented; the defaults
#: of the others are not.
DEFAULTS: Final[dict[str, Any]] = {
    "useBasicAuth": False,
    "username": None,
    "password": None,
    "enabled": True,
    "retryOnFailure": False,
}


def checked_create(body: Any) -> dict[str, Any]:
    """Return the fields of a create's body, with the defaults of those not sent.

    Args:
        body: the parsed JSON of the request.

    Raises:
        ApiError: 400 ERR_BAD_REQUEST with a complaint for each field that breaks a limit.
    """
    fields = _known_fields(body, ("id", *_STRINGS[1:], *_BOOLEANS))
    details = {name: [f"The {name} field is required."] for name in _REQUIRED if name not in fields}
    merged = {**DEFAULTS, **fields}
    _complain(fields, merged, details)
    return merged


def checked_update(body: Any, current: dict[str, Any]) -> dict[str, Any]:
    """Return the fields to change, those that the body of an update holds.

    Args:
        body: the parsed JSON of the request. An `id` in it is ignored: updates have none.
        current: the webhook's present fields, which decide whether Basic Auth has both its own.

    Raises:
        ApiError: 400 ERR_BAD_REQUEST with a complaint for each field that breaks a limit.
    """
    fields = _known_fields(body, (*_STRINGS[1:], *_BOOLEANS))
    _complain(fields, {**current, **fields}, {})
    return fields


def _known_fields(body: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad_request({"body": ["The body must be a JSON object."]})
    return {name: body[name] for name in names if name in body}


def _complain(
    fields: dict[str, Any], merged: dict[str, Any], details: dict[str, list[str]]
) -> None:
    for name, value in fields.items():
        complaints = _complaints(name, value)
        if complaints:
            details.setdefault(name, []).extend(complaints)
    if merged["useBasicAuth"] is True:
        for name in ("username", "password"):
            if merged[name] is None and name not in details:
                details[name] = [f"The {name} field is required when useBasicAuth is true."]
    if details:
        raise bad_request(details)


def _complaints(name: str, value: Any) -> list[str]:
    if name in _BOOLEANS:
        return [] if isinstance(value, bool) else [f"The {name} field must be true or false."]
    if not isinstance(value, str):
        return [f"The {name} must be a string."]
    if not value.strip():
        return [f"The {name} field is required."]
    complaints = []
    if len(value) > MAX_LENGTHS[name]:
        complaints.append(f"The {name} may not be greater than {MAX_LENGTHS[name]} characters.")
    if not _well_formed(name, value):
        complaints.append(f"The {name} format is invalid.")
    return complaints


def _well_formed(name: str, value: str) -> bool:
    match name:
        case "id":
            return _ID.fullmatch(value) is not None
        case "webhookURL":
            return _is_https(value)
        case "username" | "password":
            return _ALPHANUMERIC.fullmatch(value) is not None
        case _:
            return True


def _is_https(value: str) -> bool:
    if not _URL_CHARACTERS.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
