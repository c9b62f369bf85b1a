"""The pipe: Celery messages that hint at jobs. Losing one costs a few seconds, no job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from config.celery_app import QUEUE, app

log = structlog.get_logger("tasks")

#: Messages in one round trip.
BATCH = 256


def publish(hints: Iterable[tuple[str, int]]) -> bool:
    """Send a message for each (job id, attempts so far); False if the broker refused.

    What was not sent is hinted at again by a dispatcher, so nothing is raised.
    """
    task = app.tasks["tasks.create_webhook"]
    try:
        with app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch(BATCH):
            for job_id, attempts in hints:
                task.apply_async(
                    (job_id,), task_id=job_id, retries=attempts, producer=producer, queue=QUEUE
                )
    except Exception as error:  # noqa: BLE001  every broker has errors of its own, none of them matters
        log.warning("hints not sent, a dispatcher repeats them", problem=type(error).__name__)
        return False
    return True


def messages_in_queue(connection: Any) -> int:
    """How many messages wait in the queue; works with every broker that counts them."""
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(QUEUE, passive=True).message_count)
        except connection.channel_errors:
            return 0  # Redis has no empty lists: the queue is not there
