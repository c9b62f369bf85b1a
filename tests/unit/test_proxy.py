"""The tests' own network: each way in which it breaks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.conftest import eventually


class Echo:
    """Answers what it is sent, in capitals, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            while data := peer.recv(100):
                with self._lock:  # two connections may be heard at once
                    self.heard += data
                peer.sendall(data.upper())
        self.closed.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def received(client: socket.socket, size: int) -> bytes:
    """So many bytes, or what comes until the end."""
    answer = b""
    while len(answer) < size and (some := client.recv(size - len(answer))):
        answer += some
    return answer


def asked(client: socket.socket, words: bytes) -> bytes:
    """The answer to these words."""
    client.sendall(words)
    return received(client, len(words))


def silent(client: socket.socket, words: bytes = b"anybody") -> bool:
    """Whether there is no answer to these words, while the connection stays open."""
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.sendall(words)
        client.recv(100)
    client.settimeout(2)
    return True


def test_it_passes_all_on_and_closes_with_either_end(proxy: Proxy, echo: Echo) -> None:
    with connected(proxy) as client:
        assert asked(client, b"hello") == b"HELLO"
        assert asked(client, b"again") == b"AGAIN"
    assert echo.closed.wait(2)


def test_a_target_that_is_away_is_a_connection_that_ends(proxy: Proxy, echo: Echo) -> None:
    # The reset may come before connecting has returned.
    with Proxy(1) as nobody, pytest.raises(ConnectionResetError), connected(nobody) as client:
        client.recv(1)


def test_cut_resets_and_refuses_until_it_heals(proxy: Proxy) -> None:
    with connected(proxy) as client:
        assert asked(client, b"hello") == b"HELLO"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxy.heal()
    with connected(proxy) as client:
        assert asked(client, b"hello") == b"HELLO"


def test_delay_is_on_each_way_and_holds_nothing_else_up(proxy: Proxy) -> None:
    proxy.delay(0.2)
    with connected(proxy) as client:
        began = time.monotonic()
        client.sendall(b"one")
        time.sleep(0.1)
        client.sendall(b"two")
        assert received(client, 6) == b"ONETWO"
        assert 0.5 <= time.monotonic() - began < 0.8


def test_drip_is_a_byte_at_a_time(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.drip(0.05)
        began = time.monotonic()
        client.sendall(b"hello")
        assert client.recv(100) == b"H"
        assert received(client, 4) == b"ELLO"
        assert time.monotonic() - began >= 0.2
        client.sendall(b"x" * 3000)
        proxy.heal()
        assert received(client, 3000) == b"X" * 3000
        assert time.monotonic() - began < 2


def test_half_open_connections_stay_dead(proxy: Proxy, echo: Echo) -> None:
    with connected(proxy) as before:
        assert asked(before, b"hello") == b"HELLO"
        proxy.half_open()
        with connected(proxy) as meanwhile:
            assert silent(before)
            assert silent(meanwhile)
            proxy.heal()
            assert silent(before)
            assert silent(meanwhile)
    with connected(proxy) as after:
        assert asked(after, b"again") == b"AGAIN"
    assert echo.heard == b"helloagain"


def test_lost_answers_are_of_requests_that_had_their_effect(proxy: Proxy, echo: Echo) -> None:
    with connected(proxy) as client:
        assert asked(client, b"hello") == b"HELLO"
        proxy.lose_answers()
        assert silent(client, b" you")
        proxy.heal()
        assert silent(client, b" there")
    assert echo.closed.wait(2)
    assert echo.heard == b"hello you there"


def test_what_stalled_comes_late_even_from_those_who_left(proxy: Proxy, echo: Echo) -> None:
    stays = connected(proxy)
    with connected(proxy) as leaves:
        assert asked(leaves, b"hello ") == b"HELLO "
        proxy.stall()
        assert silent(leaves, b"late ")
    assert silent(stays, b"later")
    assert echo.heard == b"hello "
    proxy.heal()
    assert received(stays, 5) == b"LATER"
    stays.close()
    eventually(lambda: len(echo.heard) == len(b"hello late later"))
    assert echo.heard in (b"hello late later", b"hello laterlate ")


def test_forgotten_connections_alone_are_dead(proxy: Proxy) -> None:
    with connected(proxy) as idle, connected(proxy) as busy:
        assert asked(idle, b"BRPOP") == b"BRPOP"
        assert asked(busy, b"GET") == b"GET"
        assert proxy.forget(b"BRPOP") == 1
        assert silent(idle)
        assert asked(busy, b"set") == b"SET"
        with connected(proxy) as new:
            assert asked(new, b"BRPOP") == b"BRPOP"


def test_it_ends_with_all_its_connections(echo: Echo) -> None:
    proxy = Proxy(echo.port)
    with connected(proxy) as client:
        assert asked(client, b"hello") == b"HELLO"
        assert proxy.links == 1
        proxy.half_open()
        proxy.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    proxy.close()
    assert "proxy" not in {thread.name for thread in threading.enumerate()}
