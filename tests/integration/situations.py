"""A job in each situation that a step may find it in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import redis
from pydantic import SecretStr

from tasks.errors import JobNotFound
from tasks.jobs import HINT_SECONDS, LEASE_SECONDS, JobStore
from tasks.record import JobRecord, NewJob
from tasks.states import NONE
from tests.chaos import keyspace
from tests.chaos.keyspace import Keyspace

JOB = "the-job"
NEW = NewJob(JOB, 0, "default", "app", {"id": "orders"}, None, 2)
ERROR = {"class": "ApiUnavailable", "code": None}
PIPE_SIZE, RESULT_TTL, FAILED_TTL = 3, 60, 600
PROMISES = {"pipe_size": PIPE_SIZE, "result_ttl": RESULT_TTL}

#: Seconds after which a lease is over by half, and after which it and any hint are over.
HALF_OVER = math.ceil(LEASE_SECONDS / 2)
OVER = int(max(LEASE_SECONDS, HINT_SECONDS)) + 1


class Bench:
    """One job, and somebody who takes every step with it."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.redis.flushall()
        self.store = JobStore(SecretStr(url), patience=5, **PROMISES)
        self.tokens = iter(map(str, range(100)))
        #: The attempt that may report, and one that comes too late.
        self.attempt: JobRecord | None = None
        self.stale: Any = None

    def read(self) -> Keyspace:
        return keyspace.read(self.redis)

    def add(self, *, later: float = 0) -> None:
        self.store.add([replace(NEW, not_before=self.store.clock() + later if later else 0)])

    def claim(self) -> None:
        self.attempt = self.store.claim(JOB, worker="w", token=next(self.tokens)) or self.attempt

    def finish(self, state: str) -> None:
        if self.attempt:
            self.store.finish(self.attempt, state, error=ERROR, entry={"attempt": 1})  # type: ignore[arg-type]

    def reschedule(self, *, delay: float = 0) -> None:
        if self.attempt:
            entry = {"attempt": 1}
            flags = {"outcome_unknown": True, "uses_attempt": True}
            self.store.reschedule(self.attempt, delay=delay, error=ERROR, entry=entry, **flags)

    def cancel(self) -> None:
        try:
            self.store.cancel(JOB)
        except JobNotFound:
            assert self.read().state(JOB) == NONE

    def lose_attempt(self) -> None:
        """A lease is over, and its attempt has not reported."""
        self.forward(OVER)

    def forward(self, seconds: int) -> None:
        keyspace.forward(self.redis, seconds)


Act = Callable[[Bench], object]

#: What a job may have gone through, for each state all that differs in what a step may do.
SITUATIONS: dict[str, tuple[str, list[Act]]] = {
    "never enqueued": (NONE, []),
    "in the pipe": ("PENDING", [Bench.add]),
    "its message lost": ("PENDING", [Bench.add, lambda b: b.forward(OVER)]),
    "for later": ("PENDING", [lambda b: b.add(later=60)]),
    "for now": ("PENDING", [lambda b: b.add(later=60), lambda b: b.forward(61)]),
    "running": ("STARTED", [Bench.add, Bench.claim]),
    "running, cancelled": ("STARTED", [Bench.add, Bench.claim, Bench.cancel]),
    "its worker gone": ("STARTED", [Bench.add, Bench.claim, Bench.lose_attempt]),
    "its worker gone, cancelled": (
        "STARTED",
        [Bench.add, Bench.claim, Bench.cancel, Bench.lose_attempt],
    ),
    "to be retried": ("RETRY", [Bench.add, Bench.claim, Bench.reschedule]),
    "to be retried later": (
        "RETRY",
        [Bench.add, Bench.claim, lambda b: b.reschedule(delay=60)],
    ),
    "retried, in the pipe": (
        "RETRY",
        [Bench.add, Bench.claim, Bench.reschedule, lambda b: b.store.take_due(queued=0)],
    ),
    "created": ("SUCCESS", [Bench.add, Bench.claim, lambda b: b.finish("SUCCESS")]),
    "failed": ("FAILURE", [Bench.add, Bench.claim, lambda b: b.finish("FAILURE")]),
    "failed, cancelled": (
        "FAILURE",
        [Bench.add, Bench.claim, Bench.cancel, lambda b: b.finish("FAILURE")],
    ),
    "cancelled": ("REVOKED", [Bench.add, Bench.cancel]),
    "cancelled while running": (
        "REVOKED",
        [Bench.add, Bench.claim, Bench.cancel, Bench.reschedule],
    ),
}


def in_situation(bench: Bench, way: Sequence[Act]) -> Keyspace:
    for part in way:
        part(bench)
    return bench.read()
