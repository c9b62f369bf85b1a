"""One of several addresses that is dead, in each of the ways of being so."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tasks import happy_eyeballs
from tasks.happy_eyeballs import HEAD_START, MOST_ADDRESSES, MOST_HOSTS, connect
from tests.addresses import Addresses, black_hole, listening, unused_port

HOST, PORT = "many.example", 443
A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
V6, OTHER_V6 = "2001:db8::1", "2001:db8::2"
SLACK = 1.0  # seconds in which a busy machine gets round to it


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    return Addresses(monkeypatch)


@pytest.fixture
def alive() -> Iterator[int]:
    with listening() as port:
        yield port


@pytest.fixture
def swallows() -> Iterator[int]:
    with black_hole() as port:
        yield port


def reached(seconds: float = 5.0) -> str:
    """The address that was connected to."""
    sock, way = connect(HOST, PORT, seconds)
    sock.close()
    return str(way.address[0])


def unreachable() -> OSError:
    return OSError(errno.ENETUNREACH, "Network is unreachable")


DEAD: dict[str, Callable[[int], int | OSError]] = {
    "refuses": lambda _: unused_port(),
    "swallows": lambda swallows: swallows,
    "has no way": lambda _: unreachable(),
}


@pytest.mark.parametrize("what", DEAD)
def test_a_dead_first_address_costs_no_more_than_its_head_start(
    addresses: Addresses, alive: int, swallows: int, what: str
) -> None:
    addresses.names[HOST] = {A: DEAD[what](swallows), B: alive}
    began = time.monotonic()
    assert reached() == B
    took = time.monotonic() - began
    assert took < HEAD_START + SLACK
    assert (took >= HEAD_START) is (what == "swallows")


@pytest.mark.parametrize("what", DEAD)
def test_a_dead_second_address_is_not_even_dialled(
    addresses: Addresses, alive: int, swallows: int, what: str
) -> None:
    addresses.names[HOST] = {A: alive, B: DEAD[what](swallows)}
    assert [reached(), reached()] == [A, A]
    assert addresses.dialled == [A, A]


@pytest.mark.parametrize("what", DEAD)
def test_what_worked_last_is_dialled_first(
    addresses: Addresses, alive: int, swallows: int, what: str
) -> None:
    addresses.names[HOST] = {A: DEAD[what](swallows), B: alive}
    reached()
    addresses.dialled.clear()
    addresses.names[HOST] = {C: alive, A: DEAD[what](swallows), B: alive}
    assert reached() == B
    assert addresses.dialled == [B]


def test_what_was_reached_and_failed_is_dialled_last(addresses: Addresses, alive: int) -> None:
    addresses.names[HOST] = {A: alive, B: alive, C: alive}
    for expected in (A, B, C, A):
        sock, way = connect(HOST, PORT, 5.0)
        sock.close()
        assert way.address[0] == expected
        way.failed()


def test_all_that_refuse_are_a_refusal_at_once(addresses: Addresses) -> None:
    addresses.names[HOST] = dict.fromkeys((A, B, C), unused_port())
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(HOST, PORT, 30.0)
    assert time.monotonic() - began < SLACK


def test_all_that_swallow_are_dialled_within_the_time_of_one(
    addresses: Addresses, swallows: int
) -> None:
    many = [f"192.0.2.{number}" for number in range(8)]
    addresses.names[HOST] = dict.fromkeys(many, swallows)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect(HOST, PORT, 0.4)
    assert 0.4 <= time.monotonic() - began < 0.4 + SLACK
    assert addresses.dialled == many


def test_the_last_of_many_is_reached_in_a_short_time(
    addresses: Addresses, alive: int, swallows: int
) -> None:
    many = dict.fromkeys([f"192.0.2.{number}" for number in range(20)], swallows)
    addresses.names[HOST] = {**many, A: swallows, "192.0.2.99": alive}
    assert reached(1.0) == "192.0.2.99"


def test_a_dead_family_does_not_come_before_the_other(
    addresses: Addresses, alive: int, swallows: int
) -> None:
    addresses.names[HOST] = {V6: unreachable(), OTHER_V6: unreachable(), A: alive}
    assert reached() == A
    assert addresses.dialled == [V6, A]


def test_an_address_that_is_there_twice_is_dialled_once(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses.names[HOST] = {A: unused_port(), B: unused_port()}
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: look_up(*args) * 3)
    with pytest.raises(ConnectionRefusedError):
        reached()
    assert addresses.dialled == [A, B]


def test_what_lost_is_closed(addresses: Addresses, alive: int, swallows: int) -> None:
    addresses.names[HOST] = {A: swallows, B: unused_port(), C: alive}
    sock, _ = connect(HOST, PORT, 5.0)
    with sock:
        assert [one.fileno() >= 0 for one in addresses.sockets] == [False, False, True]


def test_what_is_dialled_and_remembered_is_bounded(addresses: Addresses, alive: int) -> None:
    dead = unused_port()
    addresses.names[HOST] = {f"192.0.{n // 250}.{n % 250}": dead for n in range(3 * MOST_ADDRESSES)}
    with pytest.raises(ConnectionRefusedError):
        reached()
    assert len(addresses.dialled) == MOST_ADDRESSES
    for number in range(MOST_HOSTS + 10):
        addresses.names[f"h{number}.example"] = {A: alive}
        connect(f"h{number}.example", PORT, 5.0)[0].close()
    assert len(happy_eyeballs._ranks) <= MOST_HOSTS
    for number in range(100):  # whose addresses change all the time
        addresses.names[HOST] = {f"192.0.3.{number}": alive}
        reached()
    assert len(happy_eyeballs._ranks[HOST, PORT]) == 1


def test_a_name_that_leads_nowhere(addresses: Addresses) -> None:
    addresses.names[HOST] = {}
    with pytest.raises(OSError, match="no address"):
        reached()
    with pytest.raises(socket.gaierror):
        connect("a" * 70 + ".example", PORT, 5.0)


def test_many_threads_worth_of_descriptors_do_no_harm(addresses: Addresses, alive: int) -> None:
    """`select` knows no descriptor above 1023."""
    addresses.names[HOST] = {A: alive}
    with ExitStack() as opened:
        try:
            for _ in range(600):
                for one in socket.socketpair():
                    opened.enter_context(one)
        except OSError:
            pytest.skip("this machine allows too few open files")
        assert reached() == A
