"""What an answer of CometChat's API announced of its rate limit: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tasks.retry_after import date_of, number_of

#: CometChat's two pages on rate limits name the same header each in its own way.
_LIMIT = ("x-ratelimit-limit", "x-rate-limit")
_LEFT = ("x-ratelimit-remaining", "x-rate-limit-remaining")
_RESET = ("x-ratelimit-reset", "x-rate-limit-reset")

#: A reset further ahead, in seconds, is a clock that differs, and no advice.
MAX_RESET = 86_400.0


class Announced(NamedTuple):
    """So many calls, so many of them left, the seconds until the count begins anew, and when that
    is (unix seconds by the server's clock)."""

    limit: float
    left: float
    reset: float
    ends: float


def announced(headers: Mapping[str, str], *, now: float) -> Announced | None:
    """The limit that an answer announced, None if it did not tell all three readably.

    The reset is unix seconds by the server's clock: its Date goes before `now`.
    """
    told = {name.lower(): value for name, value in headers.items()}
    if not any(name in told for name in _LIMIT):
        return None
    limit, left, reset = (
        next((number for name in names if (number := number_of(told.get(name))) is not None), None)
        for names in (_LIMIT, _LEFT, _RESET)
    )
    if limit is None or left is None or reset is None or limit <= 0 or left < 0:
        return None
    if not max(limit, left, reset) < math.inf:  # more digits than anybody counts
        return None
    sent = date_of(told.get("date"))
    ahead = reset - (now if sent is None else sent)
    return Announced(limit, left, max(ahead, 0.0), reset) if ahead <= MAX_RESET else None
