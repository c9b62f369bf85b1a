"""Days on which many jobs wait, and a few that must not wait behind them."""

from __future__ import annotations

import inspect
import statistics
import time
from typing import Any

from tasks import Job, enqueue_webhook, enqueue_webhooks
from tasks.states import ENDED
from tests.benchmarks.guest.figures import Figure, least, most, total, whole_seconds
from tests.benchmarks.guest.world import ANNOUNCED, LIMIT, World, say, wait_until, world

BULK, SINGLES = 50_000, 60
P50, P99 = 0.5, 2.0
#: While a person waits, the rest goes on: the limit is used all the same.
USED = 0.95

BIG, SMALL, TIMES = 20_000, 20, 5
SLOWER = 2.0
#: Seconds for a few jobs to end, however slowly; and between two tries.
PATIENCE, PAUSE = 120.0, 2.0


def interactive() -> list[Figure]:
    """50,000 bulk jobs wait, and each second somebody enqueues one and waits for it."""
    _require("priority", "group")
    with world() as here:
        here.sandbox.settings(limit=ANNOUNCED)
        here.enqueue(BULK, "bulk", **_options("bulk", "import"))
        here.start_workers()
        time.sleep(10)  # the limit is known, and the pipe as full as it gets
        began, jobs = time.time(), []
        for number, (app_id, webhook) in enumerate(here.webhooks(SINGLES, "person")):
            time.sleep(max(began + number - time.time(), 0))
            jobs.append(enqueue_webhook(app_id, webhook, **_options("interactive")))
        until = time.time()
        _wait_for(jobs)
        seconds = sorted(_seconds(job) for job in jobs)
        used = total(here.seconds(0), began, until, "200") / whole_seconds(began, until)
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        say(f"the slowest of them: {', '.join(f'{each:.2f} s' for each in seconds[-5:])}")
        return [
            most("enqueue to created, p50 in seconds", cuts[49], P50, "{:.2f}"),
            most("enqueue to created, p99 in seconds", cuts[98], P99, "{:.2f}"),
            least("used of what is allowed", used / LIMIT, USED, "{:.1%}"),
            most("jobs failed", here.failed(), 0),
        ]


def tenants() -> list[Figure]:
    """20 jobs of a tenant alone, then beside 20,000 of another that came first."""
    _require("priority", "group")
    with world() as here:
        here.sandbox.settings(limit=ANNOUNCED)
        here.start_workers()
        here.enqueue(1_000, "warm", **_options("bulk", "warm"))
        wait_until(lambda: here.pending() == 0, PATIENCE, "the first jobs ended")
        alone = [_few(here, f"alone{number}") for number in range(TIMES)]
        here.enqueue(BIG, "big", **_options("bulk", "big"))
        beside = [_few(here, f"beside{number}") for number in range(TIMES)]
        say(f"alone {_words(alone)}; beside {_words(beside)}")
        longer = statistics.median(beside) / statistics.median(alone)
        return [
            most("20 jobs alone, seconds", statistics.median(alone), unit="{:.2f}"),
            most("20 jobs beside 20,000, seconds", statistics.median(beside), unit="{:.2f}"),
            most("so many times as long", longer, SLOWER, "{:.1f}"),
        ]


def _few(here: World, tenant: str) -> float:
    """Seconds in which a tenant's few jobs are done, from before they are enqueued."""
    time.sleep(PAUSE)
    began = time.time()
    jobs = here.enqueue(SMALL, tenant, **_options("bulk", tenant))
    _wait_for(jobs)
    return max(job.record.ended_at or 0.0 for job in jobs) - began


def _wait_for(jobs: list[Job]) -> None:
    def done() -> bool:
        for job in jobs:
            if job.state not in ENDED:
                job.refresh()
        return all(job.state in ENDED for job in jobs)

    wait_until(done, PATIENCE, "what was enqueued ended")


def _seconds(job: Job) -> float:
    return (job.record.ended_at or float("inf")) - job.record.created_at


def _options(priority: str, group: str | None = None) -> dict[str, Any]:
    return {"priority": priority} | ({"group": group} if group else {})


def _words(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f} s" for each in seconds)


def _require(*options: str) -> None:
    known = inspect.signature(enqueue_webhooks).parameters
    if missing := [name for name in options if name not in known]:
        raise NotImplementedError(f"enqueue_webhooks has no {', '.join(missing)}")
