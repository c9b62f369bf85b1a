"""What a single field of a webhook may be: types, each with its check; and the id of an app."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, SecretStr

from config.secrets import Secret
from tasks.destination import checked_url
from tasks.errors import InvalidInput

# In characters; CometChat, webhooks overview. It documents none for an app id.
MAX_ID = MAX_NAME = MAX_USERNAME = 50
MAX_PASSWORD = 100
MAX_URL = 255
MAX_APP_ID = 100

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]+")
#: What no name may hold.
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Text = TypeVar("Text", str, SecretStr)


def _limited(value: str, maximum: int) -> str:
    if not 1 <= len(value) <= maximum:
        raise ValueError(
            f"at most {maximum} characters (has {len(value)})" if value else "is empty"
        )
    return value


def _identifier(value: str, maximum: int = MAX_ID) -> str:
    _limited(value, maximum)
    if _IDENTIFIER.fullmatch(value):
        return value
    raise ValueError("only ASCII letters, digits, '_' and '-'")


def _name(value: str) -> str:
    _limited(value, MAX_NAME)
    if value.isspace():
        raise ValueError("is blank")
    if UNFIT.search(value):
        raise ValueError("no control characters, line breaks or lone surrogates")
    return value


def _url(value: str) -> str:
    return checked_url(_limited(value, MAX_URL))


def _alphanumeric(maximum: int) -> Callable[[Text], Text]:
    def check(value: Text) -> Text:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not _ALPHANUMERIC.fullmatch(_limited(text, maximum)):
            raise ValueError("only ASCII letters and digits")
        return value

    return check


def _boolean(value: object) -> object:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


Id = Annotated[str, AfterValidator(_identifier)]
Name = Annotated[str, AfterValidator(_name)]
Url = Annotated[str, AfterValidator(_url)]
Username = Annotated[str, AfterValidator(_alphanumeric(MAX_USERNAME))]
Password = Annotated[
    SecretStr, AfterValidator(_alphanumeric(MAX_PASSWORD)), AfterValidator(Secret.of)
]
Boolean = Annotated[bool, BeforeValidator(_boolean)]


def is_password(secret: SecretStr) -> bool:
    """Whether CometChat takes this as a password."""
    try:
        _alphanumeric(MAX_PASSWORD)(secret)
    except ValueError:
        return False
    return True


def check_app_id(app_id: object) -> str:
    """The CometChat app id, unchanged, if it can be one.

    Args:
        app_id: 1 to 100 ASCII letters, digits, `_` or `-`; CometChat documents no limit.

    Raises:
        InvalidInput: it is none of that.
    """
    problem = f"must be text (is {type(app_id).__name__})"
    if isinstance(app_id, str):
        try:
            return _identifier(app_id, MAX_APP_ID)
        except ValueError as error:
            problem = str(error)
    raise InvalidInput(f"app id: {problem}", {"appId": problem})


def check_webhook_id(webhook_id: object) -> str:
    """The webhook's id, unchanged, if it can be one. Raises `InvalidInput`."""
    problem = f"must be text (is {type(webhook_id).__name__})"
    if isinstance(webhook_id, str):
        try:
            return _identifier(webhook_id)
        except ValueError as error:
            problem = str(error)
    raise InvalidInput(f"webhook id: {problem}", {"id": problem})
