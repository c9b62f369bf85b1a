"""Connections to Redis whose commands end in time, however slowly the answers come, or how large.

redis-py bounds the time between two reads of a socket: a network that lets a byte through now and
then could hold a thread for minutes. Inside `within` every read is given what is left of the time.
Nor does it bound an answer, of which somebody else may have written 500 MB: `no_more_than` does.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import redis
from redis.connection import HiredisRespSerializer
from redis.utils import HIREDIS_AVAILABLE

from tasks.happy_eyeballs import Way, connect

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
    """The same class of connections, but such that keep to that time.

    A host's addresses share the time for connecting, whichever are dead (`happy_eyeballs`).
    """
    if issubclass(kind, _BoundedConnection):
        return kind
    # Over TLS there is something between the two. A Unix socket has no address.
    bases: tuple[Any, ...] = (kind,)
    if issubclass(kind, redis.Connection):
        bases = (_Dialling,) if kind is redis.Connection else (kind, _Dialling)
    return type(f"Bounded{kind.__name__}", (_BoundedConnection, *bases), {})


class _Packer(HiredisRespSerializer):
    """What turns a command into bytes.

    hiredis does not look whether a number became a text, which fails where a signal raises at that
    very moment, as Ctrl-C does: the process crashed.
    """

    def pack(self, *args: Any) -> list[bytes]:
        texts: Any = (str(one) if isinstance(one, int | float) else one for one in args)
        packed: list[bytes] = super().pack(*texts)
        return packed


class _Dialling(redis.Connection):
    """Dials all addresses of a host, for redis-py, which has a whole timeout for each in turn."""

    way: Way | None = None

    def _connect(self) -> socket.socket:
        left, idle = seconds_left(), self.socket_timeout
        if left <= 0:
            raise TimeoutError("timed out")
        options: list[tuple[int, int, Any]] = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if self.socket_keepalive:
            options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
            given = self.socket_keepalive_options.items()
            options += [(socket.IPPROTO_TCP, name, value) for name, value in given]
        self.way = None
        sock, self.way = connect(
            self.host,
            self.port,
            min(self.socket_connect_timeout or inf, left),
            family=self.socket_type,
            options=options,
        )
        # For the TLS handshake, if there is to be one.
        left = min(idle or inf, max(seconds_left(), 0.001))
        sock.settimeout(None if left == inf else left)
        return sock


class NoHandshake(TimeoutError):
    """The server was reached, and did not answer the TLS handshake in time."""


class _BoundedConnection:
    socket_timeout: float | None
    way: Way | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if HIREDIS_AVAILABLE:
            kwargs.setdefault("command_packer", _Packer())
        super().__init__(*args, **kwargs)

    def _connect(self) -> Any:
        try:
            sock = super()._connect()  # type: ignore[misc]
        except OSError as error:
            self._distrust()
            if self.way is not None and isinstance(error, TimeoutError):
                raise NoHandshake("timed out") from None
            raise
        sock.settimeout(self.socket_timeout)
        return _BoundedSocket(sock)

    def on_connect_check_health(self, *args: Any, **options: Any) -> Any:
        """Say hello; a server that does not answer is dialled last next time."""
        try:
            return super().on_connect_check_health(*args, **options)  # type: ignore[misc]
        except (redis.ConnectionError, redis.TimeoutError):
            self._distrust()
            raise

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer; a replica, if one of the addresses is its, is dialled last next time."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError):
            self._distrust()
            raise

    def _distrust(self) -> None:
        if self.way is not None:
            self.way.failed()


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
