"""Commands to Redis that end in time, against servers that answer as they please."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from tasks.bounded import bound, bounded, seconds_left, within
from tasks.refusals import TLS_HINT, understand
from tests.addresses import black_hole
from worker.stack import ROOT

SLACK = 0.5  # seconds


class Server:
    """Answers what comes, be it what it will, with PONG, in pieces and with pauses."""

    def __init__(self) -> None:
        self.pause = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            while peer.recv(1000):
                for piece in b"+PONG\r\n":
                    time.sleep(self.pause)
                    peer.sendall(bytes([piece]))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(params=["hiredis", "python"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """With each of redis-py's parsers."""
    parser: Any = redis.connection.DefaultParser
    if request.param == "python":
        parser = redis._parsers._RESP2Parser
    pool = redis.ConnectionPool(
        host="127.0.0.1",
        port=server.port,
        protocol=2,
        driver_info=None,
        parser_class=parser,
        socket_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
    )
    with redis.Redis(connection_pool=pool) as client:
        yield bound(client)


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        call()
    return time.monotonic() - began


def test_answers_in_pieces_are_read_while_there_is_time(
    client: redis.Redis, server: Server
) -> None:
    server.pause = 0.05
    with within(2):
        assert client.ping()
    assert client.ping()


def test_pieces_that_come_too_slowly_are_not_waited_for(
    client: redis.Redis, server: Server
) -> None:
    server.pause = 0.1
    with within(0.3):
        assert took(client.ping) < 0.3 + SLACK
        assert took(client.ping) < SLACK
    server.pause = 0.0
    assert client.ping()


def test_silence_is_waited_for_as_long_as_ever(client: redis.Redis, server: Server) -> None:
    server.pause = 1.0
    with within(5):
        assert took(client.ping) < 0.5 + SLACK


def test_a_block_has_no_more_time_than_the_one_around_it() -> None:
    assert seconds_left() == float("inf")
    with within(1):
        with within(5):
            assert seconds_left() <= 1
        with within(0.1):
            assert seconds_left() <= 0.1
        assert 0.1 < seconds_left() <= 1
    assert seconds_left() == float("inf")


def test_connecting_has_no_more_time_than_is_left() -> None:
    with black_hole() as port:
        one: Any = bounded(redis.Connection)(
            host="127.0.0.1", port=port, socket_connect_timeout=3.0, retry=Retry(NoBackoff(), 0)
        )
        with within(0.3):
            assert took(one.connect) < 0.3 + SLACK
            assert took(one.connect) < SLACK


def drip(peer: socket.socket) -> None:
    with suppress(OSError), peer:
        peer.sendall(b"\x16\x03\x03\x0f\xff")
        while True:
            time.sleep(0.03)
            peer.sendall(b"\x02")


@pytest.mark.parametrize("drips", [False, True], ids=["silence", "drips"])
def test_a_handshake_has_no_more_time_than_is_left(drips: bool) -> None:
    kind = bounded(redis.SSLConnection)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        one: Any = kind(
            host="127.0.0.1", port=port, socket_timeout=3.0, retry=Retry(NoBackoff(), 0)
        )
        if drips:
            threading.Thread(target=lambda: drip(listener.accept()[0]), daemon=True).start()
        with within(0.3):
            began = time.monotonic()
            with pytest.raises(redis.TimeoutError) as raised:
                one.connect()
            assert time.monotonic() - began < 0.3 + SLACK
    words = understand(raised.value).words
    assert "It did not answer the TLS handshake" in words
    assert words.count(TLS_HINT) == 1


def test_silence_after_connecting_is_none_of_a_handshake(server: Server) -> None:
    """Nor is an address that swallows."""
    server.pause = 2.0
    without_tls: Any = bounded(redis.Connection)(
        host="127.0.0.1", port=server.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)
    )
    with black_hole() as port:
        swallowed: Any = bounded(redis.SSLConnection)(
            host="127.0.0.1", port=port, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0)
        )
        for one in (without_tls, swallowed):
            with pytest.raises(redis.TimeoutError) as raised:
                one.connect()
            assert "TLS" not in understand(raised.value).words


@pytest.mark.parametrize(
    "kind",
    [
        redis.Connection,
        redis.SSLConnection,
        SentinelManagedConnection,
        SentinelManagedSSLConnection,
        redis.UnixDomainSocketConnection,
    ],
)
def test_every_class_of_connections_dials_side_by_side_beneath_tls(kind: Any) -> None:
    """And a Unix socket, which has no addresses, as ever."""
    order = [one.__name__ for one in bounded(kind).__mro__]
    assert order[1] == "_BoundedConnection"
    if issubclass(kind, redis.Connection):
        assert order.index("_Dialling") == order.index("Connection") - 1
    else:
        assert "_Dialling" not in order


def test_a_class_is_bounded_once() -> None:
    kind = bounded(redis.Connection)
    assert kind is not redis.Connection
    assert bounded(kind) is kind


PACKING = """
import signal
import redis
from tasks.bounded import bounded

connection, many = bounded(redis.Connection)(), tuple(range(20_000))
signal.signal(signal.SIGALRM, signal.default_int_handler)
count = 0
for _ in range(50):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.003)  # once, whatever the process does just then
        while True:
            connection.pack_command("X", *many)
    except KeyboardInterrupt:
        count += 1
print(count, *connection.pack_command("X", 1, 0.5))
"""


def test_a_signal_while_numbers_are_packed_is_no_crash() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PACKING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-500:]
    count, _, packed = done.stdout.partition(" ")
    assert int(count) == 50
    assert packed.strip() == str(b"*3\r\n$1\r\nX\r\n$1\r\n1\r\n$3\r\n0.5\r\n")
