from __future__ import annotations

import gzip
import json
import socket
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests import Request
from requests.adapters import HTTPAdapter

from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    InvalidInput,
    StoreUnavailable,
)
from tasks.http_connections import CarefulAdapter
from tasks.transport import Transport
from tasks.turn import Superseded
from tests.addresses import Addresses, black_hole, unused_port
from tests.integration.servers import (
    CREATED,
    IMPATIENT,
    KEY,
    Peer,
    Stage,
    certificate_fixture,
    create,
    failure_of,
    over_tls,
    stage_fixture,
)

stage, certificate = stage_fixture, certificate_fixture


def unavailable(failure: ApiFailure, *, unknown: bool, saying: str) -> None:
    assert type(failure) is ApiUnavailable, failure
    assert failure.outcome_unknown is unknown
    assert saying in str(failure)


def test_a_refused_connection_has_no_effect(stage: Stage) -> None:
    api = stage.api(f"http://127.0.0.1:{unused_port()}")
    unavailable(failure_of(api), unknown=False, saying="the connection was refused")


def test_an_unknown_name_has_no_effect(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    api = stage.api("http://api.invalid")
    unavailable(failure_of(api), unknown=False, saying="could not be resolved")


MANY, A, B = "many.example", "192.0.2.1", "192.0.2.2"


def test_the_next_address_of_a_host_is_tried_after_one_that_refuses(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = Addresses(monkeypatch)
    addresses.names[MANY] = {A: unused_port(), B: stage.answering(200, {"data": CREATED}).port}
    assert create(stage.api(f"http://{MANY}")) == CREATED


def test_a_dead_first_address_is_no_outage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = Addresses(monkeypatch)
    server = stage.answering(200, {"data": CREATED}, Connection="close")
    with black_hole() as port:
        addresses.names[MANY] = {A: port, B: server.port}
        api = stage.api(f"http://{MANY}")
        assert [create(api), create(api)] == [CREATED, CREATED]
    assert addresses.dialled == [A, B, B]


def test_an_address_that_is_reached_and_says_nothing_is_left_by_the_next_call(
    stage: Stage, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    addresses = Addresses(monkeypatch)
    silent = stage.raw(lambda peer: peer.stop.wait())
    dead = stage.raw(lambda peer: peer.sock.recv(1))
    for scheme in ("http", "https"):
        addresses.dialled.clear()
        addresses.names[MANY] = {A: silent.port, B: dead.port}
        api = stage.api(f"{scheme}://{MANY}", **IMPATIENT)
        unavailable(failure_of(api), unknown=scheme == "http", saying="no time was left")
        unavailable(failure_of(api), unknown=scheme == "http", saying="")
        assert addresses.dialled == [A, B]


def test_all_addresses_share_one_connect_timeout(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = Addresses(monkeypatch)
    with black_hole() as port:
        addresses.names[MANY] = {f"192.0.2.{number}": port for number in range(8)}
        api = stage.api(f"http://{MANY}", **IMPATIENT)
        unavailable(failure_of(api), unknown=False, saying="of connecting")
    assert len(addresses.dialled) == 8


CUT: dict[str, Callable[[Peer], object]] = {
    "at once": lambda peer: peer.request(),
    "in the status": lambda peer: peer.request() and peer.sock.sendall(b"HTTP/1.1 20"),
    "in the headers": lambda peer: peer.request() and peer.sock.sendall(b"HTTP/1.1 200 X\r\nA: b"),
    "in the body": lambda peer: peer.request() and peer.reply(200, b"{", Content_Length="9"),
    "in a chunk": lambda peer: (
        peer.request()
        and peer.sock.sendall(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{")
    ),
    "in gzip": lambda peer: peer.request() and peer.reply(200, b"x" * 9, Content_Encoding="gzip"),
    "not HTTP": lambda peer: peer.request() and peer.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
}


@pytest.mark.parametrize("where", CUT)
def test_an_answer_that_is_cut_leaves_the_outcome_unknown(stage: Stage, where: str) -> None:
    unavailable(failure_of(stage.api(stage.raw(CUT[where]))), unknown=True, saying=": ")


STALLS: dict[str, Callable[[Peer], object]] = {
    "silent": lambda peer: peer.stop.wait(),
    "status": lambda peer: peer.drip(b"H"),
    "headers": lambda peer: peer.sock.sendall(b"HTTP/1.1 200 X\r\nA: ") or peer.drip(b"x"),
    "many headers": lambda peer: peer.sock.sendall(b"HTTP/1.1 200 X\r\n") or peer.drip(b"A: b\r\n"),
    "continue": lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": lambda peer: (
        peer.sock.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n") or peer.drip(b" ")
    ),
    "until the end": lambda peer: peer.sock.sendall(b"HTTP/1.1 200 X\r\n\r\n") or peer.drip(b" "),
    "chunks": lambda peer: (
        peer.sock.sendall(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        or peer.drip(b"1\r\n \r\n")
    ),
    "a chunk's size": lambda peer: (
        peer.sock.sendall(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        or peer.drip(b"0")
    ),
}


@pytest.mark.parametrize("what", STALLS)
def test_a_server_that_drips_holds_no_thread(stage: Stage, what: str) -> None:
    server = stage.raw(lambda peer: peer.request() and STALLS[what](peer))
    failure = failure_of(stage.api(server, **IMPATIENT))  # which checks how long it took
    unavailable(failure, unknown=True, saying=": ")


def test_a_call_may_be_given_less_time(stage: Stage) -> None:
    api = stage.api(stage.raw(lambda peer: peer.drip(b"H")))
    unavailable(failure_of(api, deadline_seconds=0.2), unknown=True, saying="waiting for the")


def test_an_answer_may_be_slow_within_the_timeouts(stage: Stage) -> None:
    body = json.dumps({"data": CREATED}).encode()

    def slowly(peer: Peer) -> None:
        peer.request()
        for part in (b"HTTP/1.1 200 X\r\n", f"Content-Length: {len(body)}\r\n\r\n".encode(), body):
            peer.stop.wait(0.1)
            peer.sock.sendall(part)

    assert create(stage.api(stage.raw(slowly))) == CREATED


def test_the_size_of_an_answer_is_bounded(stage: Stage) -> None:
    body = json.dumps({"data": CREATED}).encode()
    server = stage.answering(200, body)
    assert create(stage.api(server, max_answer_bytes=len(body))) == CREATED
    failure = failure_of(stage.api(server, max_answer_bytes=len(body) - 1))
    unavailable(failure, unknown=True, saying="too large")


def test_a_compressed_answer_is_read_though_none_was_asked_for(stage: Stage) -> None:
    body = gzip.compress(json.dumps({"data": CREATED}).encode())
    assert create(stage.api(stage.answering(200, body, Content_Encoding="gzip"))) == CREATED


def test_a_compressed_answer_is_bounded_in_memory(stage: Stage) -> None:
    bomb = gzip.compress(bytes(100_000_000), compresslevel=1)
    api = stage.api(stage.answering(200, bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    try:
        failure = failure_of(api)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    unavailable(failure, unknown=True, saying="too large")
    assert peak < 10_000_000


def test_the_proxy_of_the_variables_is_used(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = stage.answering(200, {"data": CREATED})
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:pass@"))
    api = stage.api("http://api.example")
    monkeypatch.delenv("http_proxy")
    assert create(api) == CREATED
    assert proxy.requests[0].path == "http://api.example/apps/acme/webhooks"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


def test_no_proxy_is_used_where_the_variables_exempt_the_host(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "api.example")
    Addresses(monkeypatch).names["api.example"] = {A: stage.answering(200, {"data": CREATED}).port}
    assert create(stage.api("http://api.example")) == CREATED


def test_no_proxy_sees_what_is_for_this_machine(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = stage.answering(200, {"data": CREATED})
    monkeypatch.setenv("http_proxy", proxy.url)
    assert create(stage.api(stage.answering(200, {"data": CREATED}))) == CREATED
    assert not proxy.requests


PROXIES: dict[str, Callable[[Peer], object]] = {
    "refuses": lambda peer: peer.request() and peer.reply(407),
    "drips": lambda peer: peer.request() and peer.drip(b"H"),
    "cuts": lambda peer: peer.request(),
    "cuts the tunnel": lambda peer: peer.request() and peer.reply(200),
}


@pytest.mark.parametrize("what", PROXIES)
def test_a_proxy_that_fails_kept_the_request_from_leaving(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("https_proxy", stage.raw(PROXIES[what]).url)
    unavailable(
        failure_of(stage.api("https://api.example", **IMPATIENT)), unknown=False, saying=": "
    )


def answer(peer: Peer) -> None:
    while peer.request():
        peer.reply(200, {"data": CREATED})


def test_a_certificate_that_nobody_vouches_for_is_refused(stage: Stage, certificate: Path) -> None:
    server = stage.raw(over_tls(certificate, answer))
    failure = failure_of(stage.api(f"https://127.0.0.1:{server.port}"))
    assert type(failure) is AccountRejected
    assert "self-signed certificate" in str(failure) and "REQUESTS_CA_BUNDLE" in str(failure)


def test_a_certificate_of_the_given_bundle_is_accepted(
    stage: Stage, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stage.raw(over_tls(certificate, answer))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    api = stage.api(f"https://127.0.0.1:{server.port}")
    assert [create(api) for _ in range(3)] == [CREATED] * 3
    assert server.connections == 1


@pytest.mark.parametrize("what", ["headers", "body"])
def test_a_server_that_drips_over_tls_holds_no_thread(
    stage: Stage, certificate: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    server = stage.raw(over_tls(certificate, lambda p: p.request() and STALLS[what](p)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    api = stage.api(f"https://127.0.0.1:{server.port}", **IMPATIENT)
    unavailable(failure_of(api), unknown=True, saying=": ")


HANDSHAKES: dict[str, Callable[[Peer], object]] = {
    "cut": lambda peer: peer.sock.recv(1),
    "no TLS": lambda peer: peer.sock.sendall(b"HTTP/1.1 400 X\r\n\r\n"),
    "silent": lambda peer: peer.stop.wait(),
    "drips": lambda peer: peer.sock.sendall(b"\x16\x03\x03\x0f\xff") or peer.drip(b"\x02"),
}


@pytest.mark.parametrize("what", HANDSHAKES)
def test_a_handshake_that_fails_kept_the_request_from_leaving(stage: Stage, what: str) -> None:
    server = stage.raw(HANDSHAKES[what])
    failure = failure_of(stage.api(f"https://127.0.0.1:{server.port}", **IMPATIENT))
    unavailable(failure, unknown=False, saying=": ")


def test_a_missing_bundle_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    failure = failure_of(stage.api(f"https://127.0.0.1:{unused_port()}"))
    assert type(failure) is AccountRejected and "REQUESTS_CA_BUNDLE" in str(failure)


def test_a_pool_is_kept_once_it_knows_whom_to_trust() -> None:
    """A bundle may come later, and then be a folder."""
    adapter, request = CarefulAdapter(), Request("GET", "https://a.example/").prepare()
    pool = adapter.get_connection_with_tls_context(request, "/nowhere", proxies={})
    with pytest.raises(OSError, match="nowhere"):
        adapter.cert_verify(pool, request.url, "/nowhere", None)
    assert adapter._pool is None
    adapter.cert_verify(pool, request.url, True, None)
    assert adapter.get_connection_with_tls_context(request, True, proxies={}) is pool
    adapter.close()
    assert adapter._pool is None


@pytest.mark.parametrize("url", ["", "x", "https://.example", "http://a b"])
def test_a_base_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="COMETCHAT_BASE_URL is no URL of a server"):
        Transport(url, connect_timeout=1, read_timeout=1, pool_size=1, max_answer_bytes=1)


def test_no_bug_below_shows_a_header(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: object, **__: object) -> None:
        raise RuntimeError(f"headers: {KEY}")

    monkeypatch.setattr(HTTPAdapter, "send", send)
    failure = failure_of(stage.api("https://api.example"))
    assert type(failure) is AccountRejected and "RuntimeError" in str(failure)


class Fence:
    """A guard that stops an attempt right before its bytes."""

    def __init__(self, stop: Exception) -> None:
        self.stop = stop

    def before_call(self) -> None:
        pass

    def before_bytes(self) -> None:
        raise self.stop

    def after_call(self, headers: Any) -> None:
        pass


@pytest.mark.parametrize("stop", [Superseded(), StoreUnavailable("Redis is away")], ids=repr)
def test_an_attempt_that_lost_its_job_while_it_connected_sends_nothing(
    stage: Stage, stop: Exception
) -> None:
    server = stage.answering(200, {"data": CREATED})
    api = stage.api(server.url)
    fenced = api.guarded(Fence(stop))

    with pytest.raises(type(stop)) as stopped:
        create(fenced)

    frames = traceback.walk_tb(stopped.tb)
    assert not any(KEY in repr(frame.f_locals) for frame, _ in frames)
    assert fenced.list_webhooks("app", version=2) == [CREATED]  # reading needs no fence
    assert create(api) == CREATED
    assert [request.method for request in server.requests] == ["GET", "POST"]
