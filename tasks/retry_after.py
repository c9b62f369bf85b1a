"""How long to wait, as an answer of CometChat's API told it: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3600.0  # seconds; what is told beyond it is no advice

_SECONDS = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")


def retry_after(headers: Mapping[str, str], *, now: float, reset: bool = False) -> float | None:
    """The seconds to wait that an answer told, 0 to 3600, None if it told nothing readable.

    `Retry-After` counts, in seconds or as an HTTP date; with `reset` also X-RateLimit-Reset and
    X-Rate-Limit-Reset (unix seconds; CometChat's pages on rate limits disagree on the name).
    Instants are told by the server's clock: its Date goes before `now`.
    """
    told = {name.lower(): value for name, value in headers.items()}
    seconds = number_of(told.get("retry-after"))
    if seconds is None:
        names = ("x-ratelimit-reset", "x-rate-limit-reset") if reset else ()
        instants = (
            date_of(told.get("retry-after")),
            *(number_of(told.get(name)) for name in names),
        )
        until = next((instant for instant in instants if instant is not None), None)
        sent = date_of(told.get("date"))
        seconds = None if until is None else until - (now if sent is None else sent)
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def date_of(text: str | None) -> float | None:
    """An HTTP date as unix seconds, None if it is none."""
    try:
        at = parsedate_to_datetime(text or "")
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def number_of(text: str | None) -> float | None:
    """A decimal number, None if it is none."""
    number = _SECONDS.fullmatch(text or "")
    return float(number[1]) if number else None
