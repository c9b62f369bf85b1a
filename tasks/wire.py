"""What a call to CometChat's Management API sends: path, headers and body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from config import __version__
from config.secrets import Secret
from tasks.answers import Subject
from tasks.errors import InvalidInput

#: One page holds them all: an app has at most 25 webhooks (CometChat, webhooks overview), and
#: 1000 is the largest page (CometChat, list webhooks).
PAGE = "perPage=1000"

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"cometchat-webhook-worker/{__version__}",
}


def fits_a_header(secret: SecretStr) -> bool:
    """Whether the text can be sent in a header as it is."""
    text = secret.get_secret_value()
    return bool(text) and text.isascii() and text.isprintable() and text == text.strip()


def path_of(subject: Subject) -> str:
    """The path of a call, percent-encoded. Raises `InvalidInput` for an id that fits in none."""
    path = f"/apps/{_segment('appId', subject.app_id)}/webhooks"
    if subject.webhook_id is None:
        return f"{path}?{PAGE}"
    if subject.creating:
        return path
    return f"{path}/{_segment('webhookId', subject.webhook_id)}{subject.below}"


def _segment(name: str, value: str) -> str:
    if value in ("", ".", ".."):
        raise InvalidInput(f"{name}: {value!r} cannot be part of a path", {name: "is no id"})
    return quote(value, safe="")


def json_of(fields: Mapping[str, Any]) -> SecretStr:
    """The body: these fields without those that are None, secret values uncovered."""
    given = {name: value for name, value in fields.items() if value is not None}
    return Secret(json.dumps(given, default=lambda secret: secret.get_secret_value()))
