"""How long to wait, as an answer of CometChat's API told it: pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

#: Seconds. No answer makes anybody wait longer than this before the API is asked again; the gate's
#: arithmetic has the same number (`tasks/lua/gate.lua`).
MAX_WAIT: Final = 600.0

#: Seconds. An instant that is further from the clock, or a delay that is longer, was not meant so.
MAX_AHEAD: Final = 86_400.0

#: Characters of a header that are read.
MAX_TEXT: Final = 200

#: The parts of a second in which instants are told, and those in which delays are.
_PARTS_OF_INSTANTS: Final = (1, 10**3, 10**6, 10**9)
_PARTS_OF_DELAYS: Final = (1, 10**3)

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
#: As Go writes a duration: 1m30s, 500ms.
_DURATION: Final = re.compile(
    r"(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+(?:\.[0-9]*)?)(?P<ms>m?)s)?"
)


#: CometChat's two pages on rate limits name the same header each in its own way; a gateway in front
#: of it may use the name of the IETF's draft.
RESETS: Final = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset")

#: What a `RateLimit` header says, by the drafts of the IETF: limit=100, remaining=0, reset=30 or
#: "default";r=0;t=30.
_DRAFT: Final = re.compile(r"\b(limit|remaining|reset|r|t)\s*=\s*([0-9]{1,20})", re.I)
_DRAFT_NAMES: Final = {"r": "remaining", "t": "reset"}


class Ahead(NamedTuple):
    """A time to come: in how many seconds, and when that is (unix seconds by the server's clock),
    None if the server told a delay and no instant."""

    seconds: float
    at: float | None = None


def retry_after(headers: Mapping[str, str], *, now: float, reset: bool = False) -> float | None:
    """The seconds to wait that an answer told, 0 to `MAX_WAIT`, None if it told nothing that makes
    sense.

    `Retry-After` counts; with `reset` also each of `RESETS`. `now` is in unix seconds.
    """
    told = told_in(headers)
    clocks = clocks_of(told, now)
    for name in ("retry-after", *(RESETS if reset else ())):
        if (found := ahead(told.get(name), clocks)) is not None:
            return min(found.seconds, MAX_WAIT)
    return None


def told_in(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case; what `RateLimit` says under a name for each part."""
    told = {name.lower(): value for name, value in headers.items()}
    for name, number in _DRAFT.findall(told.get("ratelimit", "")[:MAX_TEXT]):
        part = _DRAFT_NAMES.get(name.lower(), name.lower())
        told.setdefault(f"ratelimit-{part}", number)
    return told


def clocks_of(told: Mapping[str, str], now: float) -> Sequence[float]:
    """The time by the server's clock, if its Date says so, and by this machine's: unix seconds."""
    sent = date_of(told.get("date"))
    return (now,) if sent is None else (sent, now)


def ahead(text: str | None, clocks: Sequence[float]) -> Ahead | None:
    """A time to come, None if the text is none, or none that is less than a day from a clock.

    It may be an instant (HTTP date, ISO 8601, unix time in seconds or in milli-, micro- or
    nanoseconds) or a delay (in seconds or milliseconds, or as "1m30s"). Of several with commas in
    between, as a gateway puts repeated headers together, the latest counts. What is over is 0
    seconds ahead.
    """
    text = (text or "").strip()
    if len(text) > MAX_TEXT:
        return None
    found = _ahead(text, clocks)
    if found is None and "," in text:
        items = (_ahead(item.partition(";")[0].strip(), clocks) for item in text.split(","))
        found = max((item for item in items if item is not None), key=_seconds, default=None)
    return found


def _seconds(found: Ahead) -> float:
    return found.seconds


def _ahead(text: str, clocks: Sequence[float]) -> Ahead | None:
    text = text.strip("\"'")
    number = number_of(text)
    if number is None:
        delays, instants = [_duration(text)], [date_of(text)]
    else:
        delays = [number / parts for parts in _PARTS_OF_DELAYS]
        instants = [number / parts for parts in _PARTS_OF_INSTANTS]
    for instant in instants:
        for clock in clocks:
            if instant is not None and abs(instant - clock) <= MAX_AHEAD:
                return Ahead(max(instant - clock, 0.0), instant)
    for delay in delays:
        if delay is not None and 0 <= delay <= MAX_AHEAD:
            return Ahead(delay)
    return None


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text.lower())
    if not text or found is None:
        return None
    hours, minutes, seconds = (float(found[name] or 0) for name in ("h", "m", "s"))
    return hours * 3600 + minutes * 60 + seconds / (1000 if found["ms"] else 1)


def date_of(text: str | None) -> float | None:
    """An HTTP date, or one of ISO 8601, as unix seconds; None if it is none."""
    text = (text or "")[:MAX_TEXT]
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = parse(text)
            return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


def number_of(text: str | None) -> float | None:
    """A decimal number, None if it is none or has no end."""
    text = (text or "").strip()
    if len(text) > MAX_TEXT or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
