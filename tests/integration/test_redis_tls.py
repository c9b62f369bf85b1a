"""TLS to Redis: each of the five that connect verifies what it meets, and says what is wrong."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import StoreRefused
from tests.conftest import environment_kept, use_environment
from tests.integration.reach import REACH
from tests.integration.servers import Peer, Server
from worker import celery_internals
from worker.__main__ import findings
from worker.certificates import Authority, Issued
from worker.stack import RedisServer
from worker.tls_front import server_context

celery_internals.install()

DAYS = datetime.timedelta(days=1)


class Fronts:
    """TLS in front of a Redis, with one certificate or another; OpenSSL tells what it refuses."""

    def __init__(self, folder: Path, target: int) -> None:
        self.ours = Authority(folder)
        self.others = Authority(folder, "others")
        self.client = self.ours.issue("client", "client")
        self._target = target
        self._servers: list[Server] = []

    def start(self, issued: Issued, change: Callable[[ssl.SSLContext], None] | None = None) -> int:
        """Start one; its port."""
        files = issued.certificate, issued.key, self.ours.file
        context = server_context(*map(str, files))
        if change is not None:
            change(context)

        def serve(peer: Peer) -> None:
            with (
                context.wrap_socket(peer.sock, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", self._target)) as inner,
            ):
                threading.Thread(target=pump, args=(inner, outer), daemon=True).start()
                pump(outer, inner)

        self._servers.append(Server(serve))
        return self._servers[-1].port

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def environment(self, port: int, **files: str) -> dict[str, str]:
        return {
            "REDIS_URL": f"rediss://127.0.0.1:{port}/0",
            "CELERY_BROKER_URL": "",
            "CELERY_RESULT_BACKEND": "",
            "REDIS_CA_FILE": str(self.ours.file),
            "REDIS_CERT_FILE": str(self.client.certificate),
            "REDIS_KEY_FILE": str(self.client.key),
            **files,
        }


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def fronts(bare_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    fronts = Fronts(tmp_path_factory.mktemp("tls"), bare_redis.port)
    with environment_kept():
        yield fronts
    fronts.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What libraries try again by themselves they try at once."""
    monkeypatch.setattr("redis.retry.sleep", lambda _: None)


WRONG = {
    "host": lambda fronts: fronts.ours.issue("wrong-host", "redis.example"),
    "expired": lambda fronts: fronts.ours.issue("expired", "127.0.0.1", age=2 * DAYS),
    "unknown authority": lambda fronts: fronts.others.issue("unknown", "127.0.0.1"),
}
WORDS = {
    "host": "IP address mismatch",
    "expired": "certificate has expired",
    "unknown authority": "unable to get local issuer certificate",
}


@pytest.mark.parametrize("who", REACH)
def test_what_is_right_is_reached(fronts: Fronts, who: str) -> None:
    port = fronts.start(fronts.ours.issue("right", "127.0.0.1"))
    use_environment(fronts.environment(port))
    assert REACH[who]() is not None


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("who", REACH)
def test_a_wrong_certificate_is_refused_by_all(fronts: Fronts, who: str, what: str) -> None:
    use_environment(fronts.environment(fronts.start(WRONG[what](fronts))))
    with pytest.raises(Exception, match=WORDS[what]) as refused:
        REACH[who]()
    if who == "records":
        assert type(refused.value) is StoreRefused
        assert str(refused.value).startswith("The TLS certificate of Redis was refused (")
        assert refused.value.__cause__ is None and refused.value.__context__ is None


def speak_1_1(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1


def only_1_1(context: ssl.SSLContext) -> None:
    speak_1_1(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_1


@pytest.mark.parametrize("who", REACH)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused_by_all(
    fronts: Fronts, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    really_create = ssl.create_default_context

    def lax_context(*args: Any, **options: Any) -> ssl.SSLContext:
        """As on a machine whose OpenSSL speaks the old versions, too."""
        context = really_create(*args, **options)
        speak_1_1(context)
        return context

    monkeypatch.setattr(ssl, "create_default_context", lax_context)
    issued = fronts.ours.issue("old", "127.0.0.1")
    use_environment(fronts.environment(fronts.start(issued, only_1_1)))
    with pytest.raises(Exception, match=r"(?i)protocol.version|unsupported.protocol"):
        REACH[who]()


def test_the_check_says_what_is_wrong(fronts: Fronts) -> None:
    right = fronts.environment(fronts.start(fronts.ours.issue("right", "127.0.0.1")))
    foreign = fronts.others.issue("foreign", "foreign")
    cases: list[tuple[dict[str, str], str]] = [
        (right, "reachable"),
        *(
            (fronts.environment(fronts.start(make(fronts))), f"was refused ({WORDS[what]}")
            for what, make in WRONG.items()
        ),
        ({**right, "REDIS_CERT_FILE": "", "REDIS_KEY_FILE": ""}, "a client certificate"),
        (
            {
                **right,
                "REDIS_CERT_FILE": str(foreign.certificate),
                "REDIS_KEY_FILE": str(foreign.key),
            },
            # If the server's words came through: it may have closed before they were read.
            "unknown ca). Check REDIS_CERT_FILE|a client certificate",
        ),
        ({**right, "REDIS_CA_FILE": ""}, "self-signed certificate in certificate chain"),
    ]
    for environment, words in cases:
        use_environment(environment)
        said = [one.words for one in findings() if one.about == "Redis"]
        assert any(some in said[0] for some in words.split("|")), (environment, said)
