"""Clocks that are off by an hour to both sides: Redis's counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import redis
import time_machine

from tests.chaos.harness import TENTH, Chaos
from tests.chaos.registry import scenario
from tests.chaos.scenarios.dispatchers import Appointments, make_due
from worker.stack import Part

HOUR = 3_600

#: Seconds by which a retry may be later than its time.
LATE_SECONDS = 5.0

#: The API tells to wait so long, as a date by its own clock.
RATE_LIMIT_SECONDS = 3.0


def _worker(chaos: Chaos, shift: int) -> Part:
    options = ("-I", "tests.chaos.shifted_clock", "--concurrency", "32")
    return chaos.worker(*options, wait=False, CLOCK_SHIFT_SECONDS=str(shift))


def _beat(chaos: Chaos, name: str, shift: int) -> Part:
    arguments = ("-m", "tests.chaos.shifted_clock", "-A", "worker", "beat")
    env = {"CLOCK_SHIFT_SECONDS": str(shift), "REDIS_URL": chaos.redis.url_for("beat")}
    return chaos.stack.run(f"beat-{name}", *arguments, **env)


def _feed(chaos: Chaos, jobs: int) -> None:
    """A third each of producers whose clock is ahead, behind, and right."""
    for shift in (HOUR, -HOUR, 0):
        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=shift), tick=True):
            chaos.feed(jobs // 3)


def _judge_retries(chaos: Chaos) -> None:
    """Whether each attempt ran when the one before had said."""
    early, late = [], []
    for record in chaos.records().values():
        for entry, following in zip(record.history, record.history[1:], strict=False):
            if "next_try_in" in entry:
                # The milliseconds begin before the claim, whose answer may take its time.
                due = entry["at"] + entry["next_try_in"]
                early += [record.id] if following["at"] < due - 0.1 else []
                late.append(following["at"] - due - entry["ms"] / 1000)
    chaos.require(not early, f"retried before their time: {early[:3]}")
    most = max(late, default=0.0)
    chaos.require(most <= LATE_SECONDS, f"a retry ran {most:.1f} s late")
    chaos.report.notes.append(f"{len(late)} retries, at most {most:.1f} s late")


def _meet_the_rate_limit(chaos: Chaos) -> None:
    """The account waits until the date that the API tells. Last, as all jobs wait for it."""
    limit = {"kind": "rate_limit", "headers_style": "retry-after-date"}
    chaos.sandbox.faults({**limit, "seconds": RATE_LIMIT_SECONDS, "times": 1})
    chaos.feed(6)
    chaos.drain()
    waits = [
        following["at"] - entry["at"] - entry["ms"] / 1000
        for record in chaos.records().values()
        for entry, following in zip(record.history, record.history[1:], strict=False)
        if entry.get("status") == 429
    ]
    chaos.require(len(waits) == 1, f"{len(waits)} attempts met the rate limit")
    for waited in waits:
        fits = RATE_LIMIT_SECONDS - 0.1 <= waited <= RATE_LIMIT_SECONDS + 6
        chaos.require(fits, f"waited {waited} s for a rate limit of {RATE_LIMIT_SECONDS} s")


@scenario("clocks of producer, workers and beat an hour ahead and behind")
def clocks(chaos: Chaos) -> None:
    """Jobs and retries run at their times, by Redis's clock."""
    chaos.start()
    chaos.sandbox.faults(*TENTH)
    workers = [_worker(chaos, HOUR), _worker(chaos, -HOUR)]
    for worker in workers:
        worker.wait_for_line(" ready.")
    appointments = Appointments(chaos, 0.5, chaos.size(3, 20))
    beats = (("late", -HOUR), ("early", HOUR))[: chaos.size(1, 2)]
    for rounds, (name, shift) in enumerate(beats, 1):
        _feed(chaos, chaos.size(60, 300))
        beat = _beat(chaos, name, shift)
        beat.wait_for_line("Acquired lock")
        with redis.Redis.from_url(chaos.redis.url) as client:
            client.delete("webhooks:round:tasks.retry_failed")  # the ten minutes are over
        make_due(chaos, "retry_failed")
        chaos.wait_for(lambda: _rounds(workers) == rounds, 30, "what beat asks for")  # noqa: B023
        if chaos.long:
            beat.stop()  # it gives its lock to the next one
    chaos.drain()
    appointments.judge(once=False)
    _judge_retries(chaos)
    _meet_the_rate_limit(chaos)


def _rounds(workers: list[Part]) -> int:
    return sum(worker.output().count('"event": "retry_failed"') for worker in workers)
