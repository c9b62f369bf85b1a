"""Days on which the API is away, or refuses the credentials."""

from __future__ import annotations

import time

from tests.benchmarks.guest.figures import (
    Figure,
    curve,
    least,
    most,
    reached_after,
    total,
    whole_seconds,
)
from tests.benchmarks.guest.machine import IDLE, Idle
from tests.benchmarks.guest.world import (
    ANNOUNCED,
    LIMIT,
    World,
    say,
    sleep_until,
    wait_until,
    world,
)

JOBS = 5_000
#: Seconds before it begins, and for which it lasts.
BEFORE, AWAY = 10.0, 120.0
#: Where a person ends it: between two probes, or the probe would be first.
AWAY_RESUMED = 125.0
#: Seconds after which the calls that were under way when it began have ended.
UNDER_WAY = 2.0
#: Seconds after its end that are looked at, and within which the rate must be there again.
LOOKED_AT, BACK, BACK_REFUSED, BACK_RESUMED = 60.0, 15.0, 30.0, 10.0
#: Of the limit, what counts as the full rate again.
FULL = 0.9 * LIMIT
PROBES = 4


def outage() -> list[Figure]:
    """Errors for 40 s, resets for 40 s, silence for 40 s."""
    third = AWAY / 3
    kinds = (
        {"kind": "status", "status": 503},
        {"kind": "cut"},
        {"kind": "drip_headers", "seconds_per_byte": 60},
    )
    entries = [
        {"from": BEFORE + n * third, "to": BEFORE + (n + 1) * third, "faults": [kind]}
        for n, kind in enumerate(kinds)
    ]
    with world() as here:
        begin = _begin(here, *entries)
        end = begin + AWAY
        sleep_until(end)
        idle = Idle()
        sleep_until(end + LOOKED_AT)
        seconds = here.seconds(0)
        span = begin + UNDER_WAY, end
        busiest = max(
            (seconds.get(int(span[0]) + n, {}).get("calls", 0) for n in range(1, int(AWAY - 3))),
        )
        calls, wholes = total(seconds, *span), whole_seconds(*span)
        say(f"{total(seconds, begin, begin + UNDER_WAY)} calls in its first {UNDER_WAY:g} s")
        return [
            most("calls a second after its first 2 s", calls / wholes, 1.0, "{:.2f}"),
            most("calls in the busiest of those seconds", busiest),
            _back(here, end, BACK),
            *_ended(here, idle.share()),
        ]


def key_refused() -> list[Figure]:
    """The key is refused, and accepted again; nobody does anything about it."""
    with world() as here:
        begin = _begin(here, {"from": BEFORE, "to": BEFORE + AWAY, "accepted_keys": []})
        end = begin + AWAY
        sleep_until(end)
        idle = Idle()
        sleep_until(end + LOOKED_AT)
        return [
            *_probes(here, begin, end),
            _back(here, end, BACK_REFUSED),
            *_ended(here, idle.share()),
        ]


def key_resumed() -> list[Figure]:
    """The key is refused, and when it is accepted again a person says so."""
    with world() as here:
        end = BEFORE + AWAY_RESUMED
        begin = _begin(here, {"from": BEFORE, "to": end, "accepted_keys": []})
        end = begin + AWAY_RESUMED
        sleep_until(end - 1)
        probes = _probes(here, begin, end - 1)
        sleep_until(end + 0.2)
        resume = here.stack.run("resume", "-m", "tasks", "gate", "resume")
        wait_until(lambda: resume.process.poll() is not None, 20, "gate resume")
        resumed = time.time()
        say(f"resumed {resumed - end:.1f} s after its end: {resume.output().strip()[:100]}")
        idle = Idle()
        sleep_until(resumed + LOOKED_AT / 2)
        return [*probes, _back(here, resumed, BACK_RESUMED), *_ended(here, idle.share())]


def _begin(here: World, *entries: object) -> float:
    """Start with all jobs waiting and the limit announced; when the bad time begins."""
    here.sandbox.settings(limit=ANNOUNCED)
    here.enqueue(JOBS + int(LIMIT * (BEFORE + 5)))
    here.start_workers()
    began = here.play(*entries)  # type: ignore[arg-type]
    sleep_until(began + BEFORE)
    say(f"{here.pending()} jobs wait when it begins")
    return began + BEFORE


def _back(here: World, since: float, bound: float) -> Figure:
    seconds = here.seconds(since - 1)
    say(f"calls of each second afterwards: {curve(seconds, since, since + 40)}")
    reached = reached_after(seconds, since, FULL, time.time())
    return most("seconds until 90% of the full rate", reached, bound, "{:.1f}")


def _probes(here: World, begin: float, end: float) -> list[Figure]:
    seconds = here.seconds(begin)
    say(f"{total(seconds, begin, begin + UNDER_WAY)} calls in its first {UNDER_WAY:g} s")
    events = [each for each in here.sentry.events if each.get("fingerprint")]
    return [
        most("probes after its first 2 s", total(seconds, begin + UNDER_WAY, end), PROBES),
        most("Sentry events: one", abs(len(events) - 1) + 1, 1),
    ]


def _ended(here: World, idle: float) -> list[Figure]:
    here.drain()
    attempts = [job.attempts for job in here.records()]
    return [
        most("jobs failed", here.failed(), 0),
        most("webhooks not created once", here.created_wrongly(), 0),
        most("most attempts of a job", max(attempts)),
        least(IDLE, idle, unit="{:.0%}"),
    ]
