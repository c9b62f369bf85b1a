"""The pipe: Celery messages that hint at jobs, up to `IDS` each. Losing one costs a few seconds, no
job.

They are written in the form that Celery documents, not by Celery, for which each is a task with
signals, options and an event.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kombu.utils.debug import Logwrapped
from redis.exceptions import ReadOnlyError

from config.broker import QUEUE
from tasks.broker import get_pool
from tasks.trouble import Trouble

_trouble = Trouble("hints not sent, they are repeated", "hints are sent again")

#: What a job is called to Celery, and a message of others that hints at one.
TASK = "tasks.create_webhook"
#: The task of each hint of ours.
TASKS = "tasks.create_webhooks"
#: Jobs in one message at most.
IDS = 50

#: Messages in one round trip.
BATCH = 256

#: Seconds to wait for one of this process's broker connections.
POOL_TIMEOUT = 5.0


def publish(ids: Sequence[str]) -> bool:
    """Send messages that hint at these jobs; False if the broker refused.

    What was not sent is hinted at again by a dispatcher, so nothing is raised.
    """
    if not ids:
        return True
    for is_last in (False, True):
        try:
            with get_pool().connection(POOL_TIMEOUT) as connection:
                _send(ids, connection)
            break
        except Exception as error:  # noqa: BLE001  every broker has errors of its own; none matters
            if is_last or not _is_from_replica(error):
                _trouble.met(error)
                return False
    _trouble.over()
    return True


def _is_from_replica(error: BaseException | None) -> bool:
    """Whether a fail-over left a connection behind; a new one leads to the new primary."""
    while error is not None and not isinstance(error, ReadOnlyError):
        error = error.__cause__
    return error is not None


def _send(ids: Sequence[str], connection: Any) -> None:
    producer = connection.Producer()
    with _batch(producer):
        for start in range(0, len(ids), IDS):
            some = ids[start : start + IDS]
            producer.publish(
                [[some], {}, {}],
                serializer="json",
                headers=_headers(uuid.uuid4().hex),
                routing_key=QUEUE,
            )


def _headers(message_id: str) -> dict[str, Any]:
    """What a worker reads of it: a hint goes past Celery's own machinery."""
    return {"lang": "py", "task": TASKS, "id": message_id}


def _batch(producer: Any) -> AbstractContextManager[object]:
    # With KOMBU_LOG_CHANNEL, channels are wrapped in what kombu's batches take for another channel.
    is_logged = isinstance(producer.channel, Logwrapped)
    return nullcontext() if is_logged else producer.batch(BATCH)


def messages_in_queue() -> int:
    """How many messages wait in the queue; raises what the broker's client raises."""
    with get_pool().connection(POOL_TIMEOUT) as connection:
        # Declared as Celery does: every broker answers with the number of messages.
        declared = connection.default_channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        return int(declared.message_count)
