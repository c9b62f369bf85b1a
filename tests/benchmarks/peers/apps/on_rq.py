"""RQ: one job at a time, in the worker's own process."""

from __future__ import annotations

from call import REDIS, create
from redis import Redis
from rq import Queue

_queue = Queue("default", connection=Redis.from_url(REDIS))


def enqueue(number: int) -> None:
    _queue.enqueue(create, number)
