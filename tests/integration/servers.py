"""Small servers on real sockets, each misbehaving in one way."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from config.accounts import Credentials
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure
from tasks.webhook import Webhook

KEY, SECRET = "the-key-4711", "top+secret/42"
PASSWORD = "hunter2hunter2"
ORDERS = {"id": "orders", "name": "Orders", "webhookURL": "https://example.com/hook"}
WEBHOOK = Webhook.parse({**ORDERS, "username": "shop", "password": PASSWORD})
CREATED = {**ORDERS, "createdAt": 1684141151, "updatedAt": 1684141151}
PATIENT = {"connect_timeout": 5.0, "read_timeout": 5.0}
IMPATIENT = {"connect_timeout": 0.15, "read_timeout": 0.15}
SLACK = 1.5  # seconds in which a busy machine gets round to it


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self.sock, self.stop = sock, stop
        self.file: BinaryIO = sock.makefile("rb")

    def request(self) -> Request | None:
        line = self.file.readline().decode().split()
        if not line:
            return None
        headers = {}
        while (header := self.file.readline().decode().strip()) != "":
            name, value = header.split(": ", 1)
            headers[name.lower()] = value
        body = self.file.read(int(headers.get("content-length", 0)))
        return Request(line[0], line[1], headers, body)

    def reply(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Length": str(len(data)), **headers}
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items()]
        self.sock.sendall(f"HTTP/1.1 {status} X\r\n{''.join(lines)}\r\n".encode() + data)

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def drip(self, data: bytes) -> None:
        while not self.stop.wait(0.03):
            self.sock.sendall(data)


Handler = Callable[[Peer], object]


class Server:
    """Calls `handle` with each connection, in a thread of its own."""

    def __init__(self, handle: Handler) -> None:
        self.connections = 0
        self.requests: list[Request] = []
        self._handle, self._stop = handle, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._handle(Peer(sock, self._stop))

    def close(self) -> None:
        self._stop.set()
        self._listener.close()


class Stage:
    """Starts servers and clients for one test."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.clients: list[CometChat] = []

    def raw(self, handle: Handler) -> Server:
        self.servers.append(Server(handle))
        return self.servers[-1]

    def server(self, reply: Callable[[Peer, Request], None]) -> Server:
        def handle(peer: Peer) -> None:
            while request := peer.request():
                server.requests.append(request)
                reply(peer, request)

        server = self.raw(handle)
        return server

    def answering(self, status: int, body: Any = b"", **headers: str) -> Server:
        return self.server(lambda peer, _: peer.reply(status, body, **headers))

    def api(self, where: Server | str, **options: Any) -> CometChat:
        url = where if isinstance(where, str) else where.url
        options = {**PATIENT, "pool_size": 8, **options}
        self.clients.append(
            CometChat(url, Credentials(SecretStr(KEY), SecretStr(SECRET)), **options)
        )
        return self.clients[-1]


@pytest.fixture(name="stage")
def stage_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    stage = Stage()
    yield stage
    for thing in (*stage.clients, *stage.servers):
        thing.close()


@pytest.fixture(name="certificate", scope="session")
def certificate_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def over_tls(certificate: Path, handle: Callable[[Peer], object]) -> Callable[[Peer], object]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrapped(peer: Peer) -> None:
        with context.wrap_socket(peer.sock, server_side=True) as sock:
            handle(Peer(sock, peer.stop))

    return wrapped


def create(api: CometChat, deadline_seconds: float | None = None) -> Any:
    return api.create_webhook("acme", WEBHOOK, version=2, deadline_seconds=deadline_seconds)


def failure_of(api: CometChat, deadline_seconds: float | None = None) -> ApiFailure:
    """What `create` raises: as soon as an impatient client must, and with no secret in it."""
    started = time.monotonic()
    with pytest.raises(ApiFailure) as raised:
        create(api, deadline_seconds)
    assert time.monotonic() - started < (deadline_seconds or sum(IMPATIENT.values())) + SLACK
    error = raised.value
    assert error.__cause__ is None and error.__context__ is None
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = f"{error!r} {error} {error.args} {vars(error)} {''.join(told.format())}"
    assert not [secret for secret in (KEY, SECRET, PASSWORD) if secret in shown]
    return error
