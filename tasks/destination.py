"""Where a webhook leads: its URL, and whether chat may go there. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tasks import address
from tasks.errors import InvalidInput

_CHARACTERS: Final = re.compile(r"[!-\[\]-~]+")  # printable ASCII but the space and the backslash
_HTTPS: Final = re.compile(r"https://([^/?#]*)", re.IGNORECASE)
_HOST: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


def checked_url(value: str) -> str:
    """The URL, unchanged, if CometChat can deliver there. Raises `ValueError`."""
    https = _HTTPS.match(value)
    if https is None:
        raise ValueError("must start with https://")
    if "@" in https[1]:
        raise ValueError("no user or password in it: use basic auth (username, password) instead")
    if not _CHARACTERS.fullmatch(value):
        raise ValueError(
            "only printable ASCII without spaces and backslashes: "
            "percent-encode the path, write the host in punycode"
        )
    host = _HOST.fullmatch(https[1])
    if host is None or not 1 <= int(host[2] or 443) <= 65535:
        raise ValueError("must have a valid host and port after https://")
    if problem := address.problem_with(host[1]):
        raise ValueError(problem)
    if "#" in value:
        raise ValueError("no fragment (#): it would never be sent")
    return value


def check_allowed(url: str, webhook_id: str, domains: Sequence[str]) -> None:
    """Look whether the company lets its chat go there.

    Args:
        url: as `checked_url` takes it.
        webhook_id: whose; shown in the message.
        domains: those of WEBHOOK_URL_ALLOW; without any, all are allowed.

    Raises:
        InvalidInput: its host is in none of them.
    """
    https = _HTTPS.match(url)
    host = _HOST.fullmatch(https[1]) if https else None
    if not domains or (host is not None and address.is_below(host[1], domains)):
        return
    problem = "its host is in none of the domains of WEBHOOK_URL_ALLOW"
    raise InvalidInput(f"webhook {webhook_id!r}: webhookURL: {problem}", {"webhookURL": problem})
