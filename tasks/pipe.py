"""The pipe: Celery messages that hint at jobs. Losing one costs a few seconds, no job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import Any

from kombu.transport import redis
from kombu.utils.debug import Logwrapped
from redis.exceptions import ReadOnlyError

from config.celery_app import QUEUE, app
from tasks.bounded import bounded, within

log = logging.getLogger("tasks")

for channel in (redis.Channel, redis.SentinelChannel):
    channel.connection_class = bounded(channel.connection_class)
    channel.connection_class_ssl = bounded(channel.connection_class_ssl)

#: By its name: producers need not load what workers do.
TASK = "tasks.create_webhook"

#: Messages in one round trip.
BATCH = 256

#: Seconds to wait for one of this process's broker connections.
POOL_TIMEOUT = 5.0


def publish(hints: Sequence[tuple[str, int]], *, seconds: float = inf) -> bool:
    """Send a message for each (job id, attempts so far); False if the broker refused.

    A broker that is connected has so many seconds to answer.
    What was not sent is hinted at again by a dispatcher, so nothing is raised.
    """
    if not hints:
        return True
    for is_last in (False, True):
        try:
            with (
                within(seconds),
                app.producer_pool.acquire(block=True, timeout=POOL_TIMEOUT) as producer,
            ):
                _send(hints, producer)
            break
        except Exception as error:  # noqa: BLE001  every broker has errors of its own; none matters
            if is_last or not _is_from_replica(error):
                log.warning("hints not sent, a dispatcher repeats them (%s)", type(error).__name__)
                return False
    return True


def _is_from_replica(error: BaseException | None) -> bool:
    """Whether a fail-over left a connection behind; a new one leads to the new primary."""
    while error is not None and not isinstance(error, ReadOnlyError):
        error = error.__cause__
    return error is not None


def _send(hints: Sequence[tuple[str, int]], producer: Any) -> None:
    try:
        with _batch(producer):
            for job_id, attempts in hints:
                app.send_task(
                    TASK,
                    (job_id,),
                    task_id=job_id,
                    retries=attempts,  # what Flower shows
                    producer=producer,
                    ignore_result=True,  # else every producer would subscribe to its results
                )
    except Exception:
        producer.connection.collect()  # the next one connects anew
        raise


def _batch(producer: Any) -> AbstractContextManager[object]:
    # With KOMBU_LOG_CHANNEL, channels are wrapped in what kombu's batches take for another channel.
    is_logged = isinstance(producer.channel, Logwrapped)
    return nullcontext() if is_logged else producer.batch(BATCH)


def messages_in_queue() -> int:
    """How many messages wait in the queue; raises what the broker's client raises."""
    with app.pool.acquire(block=True, timeout=POOL_TIMEOUT) as connection:
        # Declared as Celery does: every broker answers with the number of messages.
        declared = connection.default_channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        return int(declared.message_count)
