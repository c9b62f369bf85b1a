"""What a call to CometChat's Management API sends: path, headers and body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from config import __version__
from config.secrets import Secret
from tasks.fields import check_app_id, check_webhook_id
from tasks.subject import Subject

#: One page holds them all: an app has at most 25 webhooks (CometChat, webhooks overview), and
#: 1000 is the largest page (CometChat, list webhooks).
PAGE = "perPage=1000"

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"cometchat-webhook-worker/{__version__}",
}


def path_of(subject: Subject) -> str:
    """The path of a call, percent-encoded. Raises `InvalidInput` for an id that fits in none."""
    # Whoever wrote them, no id leaves its segment.
    path = f"/apps/{check_app_id(subject.app_id)}/webhooks"
    if subject.webhook_id is None:
        return f"{path}?{PAGE}"
    if subject.creating:
        return path
    return f"{path}/{check_webhook_id(subject.webhook_id)}{subject.below}"


def json_of(fields: Mapping[str, Any]) -> SecretStr:
    """The body: these fields without those that are None, secret values uncovered."""
    given = {name: value for name, value in fields.items() if value is not None}
    return Secret(json.dumps(given, default=lambda secret: secret.get_secret_value()))
