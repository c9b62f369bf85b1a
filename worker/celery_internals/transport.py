"""kombu's transports for Redis, which survive whatever is put into the queue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any

from kombu.transport import redis, virtual
from kombu.utils import json

from tasks import broker
from tasks.bounded import TooLarge, no_more_than
from worker.messages import COMPRESSED, log_dropped

#: Bytes of a message as it stands in Redis. What is larger is not read to its end: the connection
#: is made anew, and the message is gone.
LARGEST = 1_000_000


def but_key_error(errors: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    """A broker's errors but for the one that is what a message raises which lacks something."""
    return tuple(kind for kind in errors if kind is not KeyError)


_READING_ERRORS = but_key_error(
    (Empty, *redis.Transport.connection_errors, *redis.Transport.channel_errors)
)


class _PlainMessage(virtual.Message):
    """A message that is as large as it was in the queue: some kilobytes could become gigabytes."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if payload["headers"].pop("compression", None):
            payload["content-encoding"] = COMPRESSED
        super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]


class Sturdy:
    """A Redis channel that survives whatever is put into the queue's list or published to all."""

    Message = _PlainMessage
    _in_listen: Any

    def _brpop_read(self, **options: Any) -> Any:
        return _or_drop(partial(super()._brpop_read, **options))  # type: ignore[misc]

    def _receive_one(self, client: Any) -> Any:
        def read() -> Any:
            try:
                return super(Sturdy, self)._receive_one(client)  # type: ignore[misc]
            except TooLarge:
                # redis-py keeps a subscriber's connection, whatever it raises: the rest would come.
                client.connection.disconnect()
                self._in_listen = None
                raise

        return _or_drop(read)

    def _handle_message(self, client: Any, response: Any) -> Any:
        told = super()._handle_message(client, response)  # type: ignore[misc]
        if isinstance(told["data"], bytes):
            # kombu would log what it cannot read.
            json.loads(told["data"])  # type: ignore[no-untyped-call]
        return told


def _or_drop(read: Callable[[], Any]) -> Any:
    """What `read` returns; a message that is the reason why it fails is gone by then."""
    try:
        with no_more_than(LARGEST):
            return read()
    except _READING_ERRORS:
        raise
    except TooLarge:
        log_dropped("is too large")
        return True
    except Exception as error:  # noqa: BLE001  what broken messages raise has no end
        log_dropped("is no Celery message", error)
        return True


class _Channel(Sturdy, broker.Channel):
    pass


class _SentinelChannel(Sturdy, broker.SentinelChannel):
    pass


class RedisTransport(redis.Transport):
    """For redis:// and rediss://."""

    Channel = _Channel


class SentinelTransport(redis.SentinelTransport):
    """For sentinel://."""

    Channel = _SentinelChannel
