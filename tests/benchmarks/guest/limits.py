"""Days on which the API limits the rate: all of it is used, and hardly a call is refused."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.guest.figures import Figure, curve, least, most, total, whole_seconds
from tests.benchmarks.guest.machine import IDLE, Idle
from tests.benchmarks.guest.world import ANNOUNCED, LIMIT, SILENT, World, say, sleep_until, world

#: Seconds that are left to learn, and those that are measured then.
LEARN, MEASURED, LONG = 10.0, 40.0, 80.0
MINUTE = 60
#: The limits of the day on which it changes, and seconds for each of them.
CHANGES, EACH = (100, 50, 200), 20.0

USED, REFUSED, REFUSED_SILENT = 0.95, 0.001, 0.01


def announced() -> list[Figure]:
    """The limit is in the headers of each answer."""
    entries = [{"from": 0, "limit": ANNOUNCED}]
    return _run(entries, [(LEARN, LEARN + MEASURED, LIMIT)], REFUSED)


def silent() -> list[Figure]:
    """A 429 without headers is all that tells it."""
    entries = [{"from": 0, "limit": SILENT}]
    return _run(entries, [(LEARN, LEARN + MEASURED, LIMIT)], REFUSED_SILENT)


def told_to_wait(seconds: float) -> list[Figure]:
    """A 429 without other headers tells how long to wait, which all calls then do."""
    entries = [{"from": 0, "limit": {**SILENT, "headers": "retry-after", "retry_after": seconds}}]
    return _run(entries, [(LEARN, LEARN + LONG, LIMIT)], REFUSED_SILENT)


def by_the_minute() -> list[Figure]:
    """As many calls are allowed, but counted by the minute; a 429 tells to wait for a second."""
    limit = {"calls": 60 * LIMIT, "seconds": MINUTE, "headers": "retry-after", "retry_after": 1}
    spans = [(MINUTE, 2 * MINUTE, LIMIT)]
    return _run([{"from": 0, "limit": limit}], spans, REFUSED_SILENT, begins_with=MINUTE)


def changed() -> list[Figure]:
    """It is announced, and changes during the run."""
    return _changed("x-ratelimit", REFUSED)


def _changed(headers: str, refused: float) -> list[Figure]:
    spans = [(LEARN + n * EACH, LEARN + (n + 1) * EACH, calls) for n, calls in enumerate(CHANGES)]
    starts = [0.0, *(start for start, _, _ in spans[1:])]
    entries = [
        {"from": start, "to": end, "limit": {"calls": calls, "headers": headers}}
        for start, (_, end, calls) in zip(starts, spans, strict=True)
    ]
    entries[-1]["to"] += EACH  # it is still there when the run is over
    return _run(entries, spans, refused)


Span = tuple[float, float, int]


def _run(
    entries: list[dict[str, Any]], spans: Sequence[Span], refused: float, *, begins_with: int = 1
) -> list[Figure]:
    """Play the entries, and measure the spans.

    Args:
        entries: of the timeline.
        spans: each from and to when, and how many calls a second are allowed.
        refused: the bound of the share of the calls that are refused.
        begins_with: seconds of the clock with whose next multiple it begins.
    """
    end = spans[-1][1]
    with world() as here:
        here.sandbox.settings(limit=entries[0]["limit"])
        seconds = end + 10 + begins_with
        here.enqueue(int(1.3 * max(calls for _, _, calls in spans) * seconds))
        here.start_workers()
        sleep_until(time.time() // begins_with * begins_with + begins_with - 0.5)
        began = here.play(*entries)
        sleep_until(began + LEARN)
        idle = Idle()
        sleep_until(began + end + 1)
        share = idle.share()
        return [*_figures(here, began, spans, refused), least(IDLE, share, unit="{:.0%}")]


def _figures(here: World, began: float, spans: Sequence[Span], refused: float) -> list[Figure]:
    seconds = here.seconds(0)
    allowed = used = 0
    for start, end, limit in spans:
        span = began + start, began + end
        counted = total(seconds, *span, "200")
        say(f"{limit} a second allowed: {curve(seconds, *span)}")
        allowed += limit * whole_seconds(*span)
        used += counted
    calls, refusals = (
        sum(each.get(what, 0) for each in seconds.values()) for what in ("calls", "429")
    )
    attempts = [job.attempts for job in here.records() if job.state == "SUCCESS"]
    more = sum(job.attempts > 0 for job in here.records() if job.state in ("PENDING", "RETRY"))
    return [
        least("used of what is allowed", used / allowed, USED, "{:.1%}"),
        most("calls refused, from the first second on", refusals / calls, refused, "{:.2%}"),
        most("jobs with an attempt used up", sum(n != 1 for n in attempts) + more, 0),
        most("jobs failed", here.failed(), 0),
    ]
