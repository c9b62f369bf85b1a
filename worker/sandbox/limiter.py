"""A rate limit as an API's gateway keeps it: so many calls in each window of the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from worker.sandbox.answers import Answer, ApiError
from worker.sandbox.faults import HeadersStyle
from worker.sandbox.forged import rate_limit_headers


class RateLimit(BaseModel):
    """So many calls in so many seconds, and how a client is told.

    The windows are those of the clock: of 60 seconds, each begins with a minute. Styles of
    headers with an X are on each answer, and a 429 has `Retry-After` besides, as CometChat
    documents it; the `retry-after` styles are on a 429 alone, `none` tells nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: int = Field(ge=0, le=1_000_000)
    seconds: float = Field(default=1.0, gt=0, le=86_400)
    headers: HeadersStyle = "x-ratelimit"
    #: What a 429 tells to wait, if not until the window ends.
    retry_after: float | None = Field(default=None, gt=0, le=86_400)


class Admission(NamedTuple):
    """Whether a call is let through; the headers that its answer carries, whatever it is."""

    passes: bool
    headers: dict[str, str]


_UNLIMITED = Admission(True, {})


class Limiter:
    """Counts the calls of the present window.

    Args:
        limit: None for no limit; may be changed at any time, and holds from the next call on.
        clock: returns unix seconds.
    """

    def __init__(
        self, limit: RateLimit | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.limit = limit
        self._clock = clock
        self._ends = 0.0
        self._used = 0

    def admit(self) -> Admission:
        """Count a call that arrives now."""
        limit = self.limit
        if limit is None:
            return _UNLIMITED
        now = self._clock()
        ends = (now // limit.seconds + 1) * limit.seconds
        if ends != self._ends:
            self._ends, self._used = ends, 0
        passes = self._used < limit.calls
        self._used += passes
        left = max(limit.calls - self._used, 0)
        return Admission(passes, self._headers(limit, passes, ends - now, now, left))

    def _headers(
        self, limit: RateLimit, passes: bool, seconds: float, now: float, left: int
    ) -> dict[str, str]:
        style, told = limit.headers, limit.retry_after or seconds
        if style.startswith("x-"):
            headers = rate_limit_headers(style, seconds, now, limit=limit.calls, left=left)
            return headers if passes else headers | rate_limit_headers("retry-after", told, now)
        return {} if passes else rate_limit_headers(style, told, now)


def refusal() -> Answer:
    """Return the answer to a call that is one too many."""
    return ApiError(429, "ERR_TOO_MANY_REQUESTS", "Too many requests.").answer()
