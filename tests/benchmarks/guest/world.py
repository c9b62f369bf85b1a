"""What a day happens in: Redis, the sandbox and four workers as processes, and a Sentry sink."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tasks import Job, Webhook, enqueue_webhooks
from tasks.record import JobRecord
from tasks.store import get_store
from tests.benchmarks.guest.figures import Seconds, by_second
from tests.conftest import SentrySink, environment_kept, use_environment
from worker.sandbox import SandboxControl
from worker.stack import Part, Stack

WORKERS = 4
#: The API's limit, in calls a second.
LIMIT = 100
#: Seconds that an API's answer takes, as far as the API is quick.
LATENCY = 0.02
#: Seconds in which jobs that nothing holds up end.
DRAIN_SECONDS = 300.0

#: What an entry of a timeline has for a limit that is announced, and for one that is not.
ANNOUNCED = {"calls": LIMIT, "seconds": 1, "headers": "x-ratelimit"}
SILENT = {"calls": LIMIT, "seconds": 1, "headers": "none"}


def say(words: str) -> None:
    """Tell who watches what goes on."""
    print(f"{time.strftime('%H:%M:%S')}  {words}", file=sys.stderr, flush=True)


@dataclass
class World:
    """The parts of a day that goes on."""

    stack: Stack
    sandbox: SandboxControl
    sentry: SentrySink
    workers: list[Part] = field(default_factory=list)
    _apps: int = 0

    def start_workers(self, count: int = WORKERS, options: Sequence[str] = ()) -> None:
        """Start workers, all at once, and wait until they are ready."""
        begun = [
            self.stack.start_worker(f"w{len(self.workers) + number}", *options)
            for number in range(1, count + 1)
        ]
        for part in begun:
            part.wait_for_line(" ready.")
        self.workers += begun

    def webhooks(self, count: int, tenant: str = "") -> Iterator[tuple[str, Webhook]]:
        """So many new webhooks, twenty to an app."""
        for number in range(count):
            if number % 20 == 0:
                self._apps += 1
            yield (
                f"{tenant or 'shop'}-{self._apps}",
                Webhook(
                    id=f"orders-{number % 20}",
                    name="Orders",
                    webhook_url="https://shop.example.com/hook",
                ),
            )

    def enqueue(self, count: int, tenant: str = "", **options: Any) -> list[Job]:
        """Enqueue so many new webhooks. Raises what keeps one out."""
        jobs = []
        for outcome in enqueue_webhooks(self.webhooks(count, tenant), **options):
            if outcome.error is not None:
                raise outcome.error
            assert outcome.job is not None
            jobs.append(outcome.job)
        return jobs

    def seconds(self, since: float) -> Seconds:
        """The calls of each second, as the sandbox counted them."""
        return by_second(self.sandbox.seconds(since))

    def play(self, *entries: Mapping[str, Any]) -> float:
        """Begin a timeline at a whole second of the clock, and return which.

        What is counted by the second is then within one entry, but for some milliseconds.
        """
        began = math.ceil(time.time())
        sleep_until(began)
        self.sandbox.play({"entry": list(entries)})
        return float(began)

    def drain(self) -> None:
        """Let nothing hold up the jobs, and wait until all have ended.

        Raises:
            TimeoutError: they have not after `DRAIN_SECONDS`.
        """
        self.sandbox.settings(limit=None)
        wait_until(lambda: self.pending() == 0, DRAIN_SECONDS, "all jobs ended")

    def pending(self) -> int:
        """How many jobs have not ended."""
        counts = get_store().counts()
        return counts["waiting"] + counts["published"] + counts["running"]

    def failed(self) -> int:
        """How many jobs have failed."""
        return get_store().counts()["failed"]

    def records(self) -> list[JobRecord]:
        """The records of all jobs."""
        return list(get_store().walk())

    def created_wrongly(self) -> int:
        """How many webhooks were created more than once."""
        return sum(each["created_by_calls"] != 1 for each in self.sandbox.webhooks())


def wait_until(is_so: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait until it is so. Raises `TimeoutError` if it takes longer."""
    give_up = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)


def sleep_until(instant: float) -> None:
    """Wait for an instant, in unix seconds."""
    time.sleep(max(instant - time.time(), 0.0))


@contextmanager
def world(**settings: str) -> Iterator[World]:
    """A stack without workers yet; this process is its producer."""
    sink = SentrySink()
    with environment_kept(), Stack(SENTRY_DSN=sink.dsn, **settings) as stack:
        stack.start_redis()
        sandbox = SandboxControl(stack.start_sandbox())
        sandbox.settings(latency=LATENCY)
        use_environment(stack.env)
        with sandbox:
            yield World(stack, sandbox, sink)
    sink.server.shutdown()
