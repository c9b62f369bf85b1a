"""What an answer of CometChat's API announced of its rate limit: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tasks.retry_after import MAX_WAIT, RESETS, ahead, clocks_of, number_of, told_in

#: In the order of `RESETS`.
_LIMIT = ("x-ratelimit-limit", "x-rate-limit", "ratelimit-limit")
_LEFT = ("x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining")


class Announced(NamedTuple):
    """So many calls, so many of them left, the seconds until the count begins anew, and when that
    is (whole unix seconds by the server's clock, 0 if it told a delay)."""

    limit: float
    left: float
    reset: float
    ends: float


def announced(headers: Mapping[str, str], *, now: float) -> Announced | None:
    """The limit that an answer announced, None if it did not tell all three so that they make
    sense. `now` is in unix seconds.
    """
    told = told_in(headers)
    if not any(name in told for name in _LIMIT):
        return None
    clocks = clocks_of(told, now)
    limit, left = (
        next((one for name in names if (one := _count(told.get(name))) is not None), None)
        for names in (_LIMIT, _LEFT)
    )
    reset = next((at for name in RESETS if (at := ahead(told.get(name), clocks))), None)
    if limit is None or left is None or reset is None or limit <= 0 or left < 0:
        return None
    if left >= 1 and reset.seconds > MAX_WAIT:
        return None  # in another unit, or by a clock that is off
    # A delay gives no end: it would be another one in each answer, by a part of a second.
    ends = 0 if reset.at is None else math.floor(reset.at)
    return Announced(limit, left, reset.seconds, ends)


def _count(text: str | None) -> float | None:
    """A number of calls; the first of several, and without what stands behind a ";"."""
    return number_of((text or "").partition(",")[0].partition(";")[0])
