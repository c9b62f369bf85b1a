"""Connections to the broker, for hints and a look at the queue: Celery's own are for one thread.

kombu's own classes stay as they are; what is bounded are subclasses of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, LifoQueue
from typing import Any, Final

import kombu.connection
from kombu.transport import redis

from config.broker import CONNECT_TIMEOUT, transport_options
from config.settings import Settings, get_settings
from config.shared import shared
from tasks.bounded import bounded

#: Connections of one process, for which its threads wait. A batch of hints takes a millisecond.
POOL_SIZE: Final = 4


class Channel(redis.Channel):
    """A Redis channel whose connections keep to the time of the block they are used in."""

    connection_class = bounded(redis.Channel.connection_class)
    connection_class_ssl = bounded(redis.Channel.connection_class_ssl)


class SentinelChannel(redis.SentinelChannel):
    """The same, of the server that sentinels name."""

    connection_class = bounded(redis.SentinelChannel.connection_class)
    connection_class_ssl = bounded(redis.SentinelChannel.connection_class_ssl)


class Transport(redis.Transport):
    """For redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """For sentinel://."""

    Channel = SentinelChannel


_BOUNDED: Final = {redis.Transport: Transport, redis.SentinelTransport: SentinelTransport}


class Connection(kombu.connection.Connection):
    """kombu's connection, over a bounded transport where there is one for the broker's scheme."""

    def get_transport_cls(self) -> Any:
        """Asked by kombu, also when it goes on to another URL."""
        kind = super().get_transport_cls()  # type: ignore[no-untyped-call]
        return _BOUNDED.get(kind, kind)


class Pool:
    """Connections that threads share; at most `POOL_SIZE` of them, each made when it is needed."""

    def __init__(self, settings: Settings) -> None:
        url, _ = settings.broker
        self._connect = partial(
            Connection,
            url,
            ssl=settings.redis_tls.options(url) or False,
            connect_timeout=CONNECT_TIMEOUT,
            transport_options=transport_options(settings),
        )
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(POOL_SIZE):
            self._free.put(None)

    @contextmanager
    def connection(self, seconds: float) -> Iterator[Any]:
        """One of the connections, for this block alone; it is closed if the block fails.

        Raises `TimeoutError` if none was free within so many seconds.
        """
        try:
            one = self._free.get(timeout=seconds)
        except Empty:
            raise TimeoutError("all connections to the broker are in use") from None
        try:
            one = one or self._connect()
            yield one
        except BaseException:
            if one is not None:
                with suppress(Exception):  # whatever it meets, nobody uses it again
                    one.release()
            one = None
            raise
        finally:
            self._free.put(one)


@shared
def get_pool() -> Pool:
    """The process's pool, from the settings."""
    return Pool(get_settings())
