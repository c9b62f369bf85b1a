"""Connections to Redis whose commands end in time, however slowly the answers come, or how large.

redis-py bounds the time between two reads of a socket: a network that lets a byte through now and
then could hold a thread for minutes. Inside `within` every read is given what is left of the time.
Nor does it bound an answer, of which somebody else may have written 500 MB: `no_more_than` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import redis
from redis.connection import HiredisRespSerializer
from redis.utils import HIREDIS_AVAILABLE

_until: ContextVar[float] = ContextVar("until", default=inf)


class TooLarge(Exception):
    """An answer was larger than it may be; the connection was closed."""


#: How many bytes may still be read.
_room: ContextVar[list[float]] = ContextVar("room")


@contextmanager
def no_more_than(size: float) -> Iterator[None]:
    """What is read from Redis in this block are so many bytes, or it raises `TooLarge`."""
    token = _room.set([size])
    try:
        yield
    finally:
        _room.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is asked of Redis in this block ends within so many seconds, or with a time-out.

    A block inside another has no longer than what is left of that one's time.
    """
    token = _until.set(min(_until.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _until.reset(token)


def seconds_left() -> float:
    """What is left of the time of the block that this is called in."""
    return _until.get() - time.monotonic()


def bound(client: redis.Redis) -> redis.Redis:
    """Let the client's connections keep to the time of the block that they are used in."""
    pool = client.connection_pool
    pool.connection_class = bounded(pool.connection_class)
    return client


def bounded(kind: Any) -> Any:
    """The same class of connections, but such that keep to that time."""
    if issubclass(kind, _BoundedConnection):
        return kind
    return type(f"Bounded{kind.__name__}", (_BoundedConnection, kind), {})


class _Packer(HiredisRespSerializer):
    """What turns a command into bytes.

    hiredis does not look whether a number became a text, which fails where a signal raises at that
    very moment, as Ctrl-C does: the process crashed.
    """

    def pack(self, *args: Any) -> list[bytes]:
        texts: Any = (str(one) if isinstance(one, int | float) else one for one in args)
        packed: list[bytes] = super().pack(*texts)
        return packed


class _BoundedConnection:
    socket_connect_timeout: float | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if HIREDIS_AVAILABLE:
            kwargs.setdefault("command_packer", _Packer())
        super().__init__(*args, **kwargs)

    def _connect(self) -> Any:
        usual, left = self.socket_connect_timeout, seconds_left()
        if left <= 0:
            raise TimeoutError("timed out")
        if left != inf:
            # Each address is tried for so long; most names have two at most.
            self.socket_connect_timeout = min(usual or inf, left / 2)
        try:
            return _BoundedSocket(super()._connect())  # type: ignore[misc]
        finally:
            self.socket_connect_timeout = usual


def _count(size: int) -> None:
    room = _room.get(None)
    if room is None:
        return
    room[0] -= size
    if room[0] < 0:
        raise TooLarge


class _BoundedSocket:
    """A socket, over TLS or not, whose reads have no more time and room than are left."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, *args: Any) -> bytes:
        data = self._in_time(self._sock.recv, *args)
        _count(len(data))
        return data  # type: ignore[no-any-return]

    def recv_into(self, *args: Any) -> int:
        size = self._in_time(self._sock.recv_into, *args)
        _count(size)
        return size  # type: ignore[no-any-return]

    def _in_time(self, read: Callable[..., Any], *args: Any) -> Any:
        usual, left = self._sock.gettimeout(), seconds_left()
        if left <= 0:
            raise TimeoutError("timed out")
        if left == inf or (usual is not None and usual <= left):
            return read(*args)
        self._sock.settimeout(left)
        try:
            return read(*args)
        finally:
            self._sock.settimeout(usual)
