"""A kept connection never hands the answer of one call to the next, whatever the server sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tasks import http_connections
from tasks.no_answer import NoAnswer
from tasks.transport import Answer, Transport
from tests.integration.servers import (
    Peer,
    Server,
    Stage,
    certificate_fixture,
    over_tls,
    stage_fixture,
)

stage, certificate = stage_fixture, certificate_fixture


def answer(body: bytes, status: int = 200, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, length, body)


def chunks(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


#: Longer than http.client reads at once.
LONG = b"x" * 12_000
WRONG = answer(b"wrong")


class First:
    """How the first request is answered: with these pieces, one after the other.

    Args:
        pieces: sent at once each; before the last, the client is given time to see the others.
        late: sent when the client is done with its first call.
        status: what the client must see; None if it cannot have an answer.
        same: the connection may serve the next call, too.
    """

    def __init__(
        self, *pieces: bytes, late: bytes = b"", status: int | None = 200, same: bool = False
    ) -> None:
        self.pieces, self.late, self.status, self.same = pieces, late, status, same


EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
RIGHT = answer(b"/first")
FIRST: dict[str, First] = {
    "nothing odd": First(RIGHT, same=True),
    "100": First(b"HTTP/1.1 100 Continue\r\n\r\n" + RIGHT, same=True),
    "102": First(b"HTTP/1.1 102 Processing\r\n\r\n", RIGHT, same=True),
    "103": First(EARLY, RIGHT, same=True),
    "103 twice": First(EARLY, EARLY + RIGHT, same=True),
    "103 in the same packet": First(EARLY + RIGHT, same=True),
    "103, then 422": First(EARLY, answer(b"/first", 422), status=422),
    "199": First(b"HTTP/1.1 199 X\r\n\r\n", RIGHT, same=True),
    "103 with a length": First(
        EARLY.replace(b"Link", b"Content-Length: 5\r\nLink"), RIGHT, same=True
    ),
    "103 with a tail": First(EARLY + b"hello", RIGHT, status=None),
    "103 and two answers": First(EARLY + RIGHT + WRONG),
    "103 and the end": First(EARLY, status=None),
    "101": First(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", RIGHT, status=None),
    "1xx for ever": First(EARLY * 150 + RIGHT, status=None),
    "longer than told": First(answer(b"/first" + b"tail", length=6)),
    "much longer than told": First(answer(b"/first" + LONG, length=6)),
    "longer than told, later": First(RIGHT, late=b"tail"),
    "much longer than told, to the byte of a read": First(
        answer(b"/first".ljust(8192 - 40)) + LONG[:4000]
    ),
    "204 with a body": First(b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nwrong", status=204),
    "304 with a body": First(b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\nwrong", status=304),
    "chunks with a tail": First(chunks(b"/first") + b"tail"),
    "chunks with an answer for a tail": First(chunks(b"/first") + WRONG),
    "chunks with a tail, later": First(chunks(b"/first"), late=WRONG),
    "a second answer": First(RIGHT + WRONG),
    "half of a second answer": First(RIGHT + WRONG[:20], late=WRONG[20:]),
    "a second answer, later": First(RIGHT, late=WRONG),
    "an interim answer, later": First(RIGHT, late=EARLY),
    "two lengths": First(RIGHT.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"), status=None),
}


class Exchange:
    """A server that answers the first request in one such way, and others with their path."""

    def __init__(self, first: First) -> None:
        self.first, self.paths = first, list[str]()
        self.is_done, self.is_late = threading.Event(), threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent has arrived
        while request := peer.request():
            self.paths.append(request.path)
            if len(self.paths) > 1:
                peer.sock.sendall(answer(request.path.encode()))
                continue
            for number, piece in enumerate(self.first.pieces):
                if number:
                    time.sleep(0.05)  # what a client would see of it, nobody can tell
                peer.sock.sendall(piece)
            if self.first.status is None:
                return
            self.is_done.wait(5)
            try:
                peer.sock.sendall(self.first.late)
            finally:
                self.is_late.set()


@pytest.fixture
def transports() -> Iterator[Callable[[str], Transport]]:
    made: list[Transport] = []

    def make(url: str) -> Transport:
        made.append(
            Transport(
                url, connect_timeout=2.0, read_timeout=2.0, pool_size=4, max_answer_bytes=100_000
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def check(exchange: Exchange, transport: Transport, server: Server) -> None:
    body = SecretStr('{"some": "body"}')
    first = transport.send("POST", "/first", headers={}, body=body)
    exchange.is_done.set()
    if exchange.first.status is None:
        assert isinstance(first, NoAnswer) and first.sent, first
    else:
        assert isinstance(first, Answer) and first.status == exchange.first.status
        assert (first.body or b"").strip() in (b"/first", b"")
        assert exchange.is_late.wait(5)
    for path in ("/second", "/third"):
        told = transport.send("POST", path, headers={}, body=body)
        assert isinstance(told, Answer), told
        assert (told.status, told.body) == (200, path.encode())
    assert exchange.paths == ["/first", "/second", "/third"]
    assert server.connections == (1 if exchange.first.same else 2)


@pytest.mark.parametrize("what", FIRST)
def test_no_answer_is_taken_for_that_of_another_call(
    stage: Stage, transports: Callable[[str], Transport], what: str
) -> None:
    exchange = Exchange(FIRST[what])
    server = stage.raw(exchange)
    check(exchange, transports(server.url), server)


@pytest.mark.parametrize("what", FIRST)
def test_nor_over_tls(
    stage: Stage,
    transports: Callable[[str], Transport],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """TLS may have read from the socket what nobody asked for yet."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    exchange = Exchange(FIRST[what])
    server = stage.raw(over_tls(certificate, exchange))
    check(exchange, transports(f"https://127.0.0.1:{server.port}"), server)


def test_an_answer_to_a_request_that_was_not_read_to_its_end_is_the_connections_last(
    stage: Stage, transports: Callable[[str], Transport]
) -> None:
    """What was left of its body may be taken for a request, with an answer of its own."""

    def head_only(peer: Peer) -> None:
        while line := peer.file.readline():
            while peer.file.readline() not in (b"\r\n", b""):
                pass
            is_ours = line.startswith(b"POST /")
            peer.sock.sendall(answer(b"refused", 422) if is_ours else WRONG)

    server = stage.raw(head_only)
    transport = transports(server.url)
    for count in (1, 2, 3):
        told = transport.send("POST", "/", headers={}, body=SecretStr("a body\r\n\r\n"))
        assert isinstance(told, Answer) and told.status == 422
        assert server.connections == count


def test_nor_is_one_kept_on_which_a_delete_had_a_body(
    stage: Stage, transports: Callable[[str], Transport]
) -> None:
    """Some do not read it, whatever they answer."""

    def head_only(peer: Peer) -> None:
        while peer.file.readline():
            while peer.file.readline() not in (b"\r\n", b""):
                pass
            peer.sock.sendall(answer(b"done"))

    server = stage.raw(head_only)
    transport = transports(server.url)
    for count in (1, 2, 3):
        told = transport.send("DELETE", "/", headers={}, body=SecretStr("a body\r\n\r\n"))
        assert isinstance(told, Answer) and told.body == b"done"
        assert server.connections == count


def test_a_server_that_speaks_first_is_asked_nothing(
    stage: Stage, transports: Callable[[str], Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is to no request of ours, so none has left."""
    has_spoken = threading.Event()
    got: list[bytes] = []

    def speak(peer: Peer) -> None:
        peer.sock.sendall(answer(b"busy", 503))
        has_spoken.set()
        got.append(peer.sock.recv(1))

    transport = transports(stage.raw(speak).url)
    really_connect = http_connections.connect

    def connect(*args: object, **options: object) -> object:
        made = really_connect(*args, **options)  # type: ignore[arg-type]
        assert has_spoken.wait(5)
        return made

    monkeypatch.setattr(http_connections, "connect", connect)
    told = transport.send("POST", "/first", headers={}, body=SecretStr("{}"))
    assert told == NoAnswer("the server spoke before it was asked", sent=False)


def test_informational_answers_have_no_more_time_than_the_call(
    stage: Stage, transports: Callable[[str], Transport]
) -> None:
    server = stage.raw(lambda peer: peer.request() and peer.drip(EARLY))
    began = time.monotonic()
    told = transports(server.url).send("GET", "/", headers={}, deadline_seconds=0.3)
    assert isinstance(told, NoAnswer) and told.sent and "no time was left" in told.reason
    assert time.monotonic() - began < 1.5


def test_a_tunnel_is_kept_and_its_proxy_may_give_interim_answers(
    stage: Stage,
    transports: Callable[[str], Transport],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def api(peer: Peer) -> None:
        while request := peer.request():
            peer.sock.sendall(EARLY + answer(request.path.encode()))

    def tunnel(peer: Peer) -> None:
        while peer.file.readline() != b"\r\n":
            pass
        peer.sock.sendall(EARLY + b"HTTP/1.1 200 Connected\r\n\r\n")
        over_tls(certificate, api)(peer)

    proxy = stage.raw(tunnel)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setattr("tasks.transport.is_loopback", lambda _: False)
    transport = transports("https://127.0.0.1:9")
    for path in ("/first", "/second", "/third"):
        told = transport.send("POST", path, headers={}, body=SecretStr("{}"))
        assert isinstance(told, Answer) and told.body == path.encode(), told
    assert proxy.connections == 1
