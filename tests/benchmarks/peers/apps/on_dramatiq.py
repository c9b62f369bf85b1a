"""dramatiq."""

from __future__ import annotations

import dramatiq
from call import REDIS, create
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=REDIS))


@dramatiq.actor(max_retries=10)
def create_webhook(number: int) -> None:
    create(number)


enqueue = create_webhook.send
