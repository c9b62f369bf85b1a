"""One of several addresses of Redis is dead: each of the five that connect goes by another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from tasks.bounded import within
from tasks.errors import StoreUnavailable
from tasks.happy_eyeballs import HEAD_START
from tasks.redis import Connection
from tests.addresses import Addresses, black_hole, unused_port
from tests.conftest import environment_kept, use_environment
from tests.integration.reach import REACH
from tests.integration.servers import Peer, Stage, stage_fixture
from worker.stack import RedisServer

stage = stage_fixture

HOST, A, B = "redis.example", "192.0.2.1", "192.0.2.2"
V6 = "2001:db8::1"
URL = f"redis://{HOST}:6379/0"
SLACK = 1.0  # seconds in which a busy machine gets round to it


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Addresses]:
    with environment_kept():
        yield Addresses(monkeypatch)


@pytest.fixture
def swallows() -> Iterator[int]:
    with black_hole() as port:
        yield port


@pytest.mark.parametrize("who", REACH)
def test_a_dead_first_address_is_no_outage(
    addresses: Addresses, bare_redis: RedisServer, swallows: int, who: str
) -> None:
    addresses.names[HOST] = {A: swallows, B: bare_redis.port}
    use_environment({"REDIS_URL": URL, "CELERY_BROKER_URL": "", "CELERY_RESULT_BACKEND": ""})
    began = time.monotonic()
    assert REACH[who]() is not None
    assert time.monotonic() - began < HEAD_START + SLACK
    assert addresses.dialled[:2] == [A, B]
    assert set(addresses.dialled[2:]) <= {B}


def test_all_addresses_that_are_dead_are_an_error_in_time(
    addresses: Addresses, swallows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.redis.CONNECT_SECONDS", 0.4)
    many = [V6, *(f"192.0.2.{number}" for number in range(7))]
    addresses.names[HOST] = dict.fromkeys(many, swallows)
    addresses.names[HOST][V6] = OSError("Network is unreachable")
    connection = Connection(SecretStr(URL), prefix="webhooks:", patience=0.0)
    began = time.monotonic()
    with within(0.9), pytest.raises(StoreUnavailable, match="Timeout connecting"):
        connection.run(connection.redis.ping)
    assert time.monotonic() - began < 0.4 + SLACK
    assert addresses.dialled == many


def readonly(peer: Peer) -> None:
    while peer.sock.recv(10_000):
        peer.sock.sendall(b"-READONLY You can't write against a read only replica.\r\n")


REACHED: dict[str, Callable[[Peer], object]] = {
    "says nothing": lambda peer: peer.stop.wait(),
    "hangs up": lambda peer: peer.sock.recv(1),
    "loads its data": lambda peer: (
        peer.sock.recv(1) and peer.sock.sendall(b"-LOADING Redis is\r\n")
    ),
    "is a replica": readonly,
}


@pytest.mark.parametrize("what", REACHED)
def test_an_address_that_is_reached_and_of_no_use_is_left(
    addresses: Addresses,
    bare_redis: RedisServer,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr("tasks.redis.ANSWER_SECONDS", 0.5)
    addresses.names[HOST] = {A: stage.raw(REACHED[what]).port, B: bare_redis.port}
    connection = Connection(SecretStr(URL), prefix="webhooks:", patience=1.5)
    with ExitStack() as after:
        after.callback(connection.redis.close)
        assert connection.run(connection.redis.set, "webhooks:some", "thing")
        assert connection.run(connection.redis.delete, "webhooks:some") == 1
    assert addresses.dialled == [A, B]


def test_a_refusing_address_is_passed_over(addresses: Addresses, bare_redis: RedisServer) -> None:
    addresses.names[HOST] = {V6: OSError("Network is unreachable"), A: unused_port()}
    addresses.names[HOST][B] = bare_redis.port
    connection = Connection(SecretStr(URL), prefix="webhooks:", patience=0.0)
    assert connection.run(connection.redis.ping)
    connection.redis.close()
    assert addresses.dialled == [V6, A, B]
