"""The producer of a chaos run, and the ledger in which it keeps what it was told."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from config.accounts import DEFAULT
from tasks import Webhook, enqueue_webhooks
from tasks.actions import cancel_job
from tasks.errors import JobNotFound, StepRefused, StoreUnavailable
from tasks.record import job_id
from tasks.store import get_store

#: What a job that was cancelled can never be again.
WAITS = frozenset({"PENDING", "RETRY"})

#: Jobs in one call of the producer.
BATCH = 100

#: Seconds after which one call hangs: enqueueing answers within 5 s.
HANGS = 10.0

#: Seconds that a producer may be behind after the block that it feeds.
LATE = 600.0

#: App id and webhook id.
Key = tuple[str, str]


@dataclass
class Ledger:
    """What the producer knows by itself."""

    accepted: set[Key] = field(default_factory=set)
    #: Enqueueing raised: it may be there or not.
    unsure: set[Key] = field(default_factory=set)
    #: Cancelling said REVOKED, and that no call can have had an effect.
    cancelled: set[Key] = field(default_factory=set)
    #: Cancelling was tried, and said anything else.
    perhaps_cancelled: set[Key] = field(default_factory=set)
    #: The workers were stopped before all was done: jobs may still wait, as if nobody had come.
    may_wait: bool = False
    #: Records may have expired by the end: not every attempt is known.
    may_expire: bool = False
    #: What was asked for, accepted or not.
    asked: dict[Key, Webhook] = field(default_factory=dict)
    #: The accounts of the apps that are not of the default one.
    accounts: dict[str, str] = field(default_factory=dict)

    def job_id(self, key: Key) -> str:
        """The id of the job that creates this webhook."""
        return job_id(self.accounts.get(key[0], DEFAULT), *key)


def webhook_of(number: int) -> tuple[str, Webhook]:
    """The webhook of this number: twenty to an app."""
    url = f"https://shop.example.com/{number}"
    return f"shop-{number // 20}", Webhook(
        id=f"orders-{number % 20}", name=f"Orders {number}", webhook_url=url
    )


def by_key(items: Iterable[tuple[str, Webhook]]) -> dict[Key, Webhook]:
    """The webhooks by app id and webhook id."""
    return {(app_id, webhook.id): webhook for app_id, webhook in items}


def pending() -> int:
    """How many jobs have not ended; many while Redis is away."""
    try:
        counts = get_store().counts()
    except StoreUnavailable:
        return sys.maxsize
    return counts["waiting"] + counts["published"] + counts["running"]


class Producer:
    """Enqueues ever new webhooks, from any number of threads.

    Args:
        ledger: where it notes what it was told.
        require: is told of each promise that was broken to it.
        over: ends its waiting for the workers to come along.
    """

    def __init__(
        self, ledger: Ledger, require: Callable[[object, str], None], over: threading.Event
    ) -> None:
        self._ledger = ledger
        self._require = require
        self._over = over
        self._number = 0
        self._lock = threading.Lock()
        #: Seconds of the longest call.
        self.slowest = 0.0

    def new_items(self, count: int) -> list[tuple[str, Webhook]]:
        """So many webhooks that nobody had before."""
        with self._lock:
            first = self._number
            self._number += count
        items = [webhook_of(first + n) for n in range(count)]
        self._ledger.asked.update(by_key(items))
        return items

    def feed(self, count: int, *, insist: bool = True, **options: Any) -> int:
        """Enqueue so many new webhooks; how many were accepted.

        With `insist`, what was not accepted is enqueued again until it is, as producers do.
        """
        items = self.new_items(count)
        return sum(
            self.enqueue(items[start : start + BATCH], insist=insist, **options)
            for start in range(0, count, BATCH)
        )

    def enqueue(
        self, items: Sequence[tuple[str, Webhook]], *, insist: bool = True, **options: Any
    ) -> int:
        """Enqueue these in one call, see `feed`; how many were accepted."""
        self._ledger.asked.update(by_key(items))
        accepted = 0
        while items:
            began = time.monotonic()
            outcomes = enqueue_webhooks(items, **options)
            took = time.monotonic() - began
            self.slowest = max(self.slowest, took)
            self._require(took <= HANGS, f"one call of the producer took {took:.1f} s")
            again = []
            for item, outcome in zip(items, outcomes, strict=True):
                key = item[0], item[1].id
                if outcome.error is None:
                    accepted += 1
                    self._ledger.accepted.add(key)
                    self._ledger.unsure.discard(key)
                elif isinstance(outcome.error, StoreUnavailable):
                    self._ledger.unsure.add(key)
                    again.append(item)
                else:
                    self._require(False, f"{key} was not accepted: {outcome.error}")
            items = again if insist and not self._over.is_set() else []
            if items:
                time.sleep(0.1)  # a producer's own pause
        return accepted

    @contextmanager
    def feeding(self, count: int, *, backlog: int = 4_000, **options: Any) -> Iterator[None]:
        """Enqueue so many while the block runs, some thousands ahead; all are in at its end."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                left = count
                while left > 0:
                    self.feed(min(BATCH, left), **options)
                    left -= BATCH
                    while not self._over.is_set() and pending() > backlog:
                        time.sleep(0.05)
            except BaseException as error:  # noqa: BLE001  told at the end of the block
                failures.append(error)

        producer = threading.Thread(target=run, daemon=True)
        producer.start()
        yield
        producer.join(LATE)
        self._require(not producer.is_alive(), "the producer hangs")
        self._require(not failures, f"the producer met {failures}")

    def cancel(self, key: Key) -> None:
        """Cancel a job, and note what was said."""
        try:
            job = cancel_job(self._ledger.job_id(key))
        except (StepRefused, JobNotFound):
            return
        except StoreUnavailable:
            self._ledger.perhaps_cancelled.add(key)
            return
        self._require(job.state not in WAITS, f"{key} was cancelled, and is {job.state}")
        certain = job.state == "REVOKED" and not job.record.outcome_unknown
        (self._ledger.cancelled if certain else self._ledger.perhaps_cancelled).add(key)
