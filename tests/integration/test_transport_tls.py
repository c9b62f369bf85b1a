"""TLS to the API: which versions are spoken, through a proxy too, and what goes in clear."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3.connection

from tasks.errors import ApiUnavailable
from tests.integration.servers import (
    CREATED,
    Peer,
    Stage,
    certificate_fixture,
    create,
    failure_of,
    stage_fixture,
)

stage, certificate = stage_fixture, certificate_fixture


@contextmanager
def old_versions_allowed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.fixture
def lax_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose OpenSSL would speak the old versions, too."""
    really_create = urllib3.connection.create_urllib3_context

    def create_context(*args: Any, **options: Any) -> ssl.SSLContext:
        context = really_create(*args, **options)
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    monkeypatch.setattr(urllib3.connection, "create_urllib3_context", create_context)


def speaking(stage: Stage, certificate: Path, version: str, *, by_proxy: bool) -> int:
    """A server that speaks this version alone, or a proxy that leads to one; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with old_versions_allowed():
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    def answer(peer: Peer) -> None:
        if by_proxy:
            assert peer.request()
            peer.sock.sendall(b"HTTP/1.1 200 X\r\n\r\n")
        with context.wrap_socket(peer.sock, server_side=True) as sock:
            inner = Peer(sock, peer.stop)
            while inner.request():
                inner.reply(200, {"data": CREATED})

    return stage.raw(answer).port


@pytest.mark.usefixtures("lax_system")
@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("by_proxy", [False, True], ids=["", "by a proxy"])
def test_tls_is_1_2_or_later(
    stage: Stage,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    by_proxy: bool,
) -> None:
    port = speaking(stage, certificate, version, by_proxy=by_proxy)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    host = "127.0.0.1"
    if by_proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setattr("tasks.transport.is_loopback", lambda _: False)
    api = stage.api(f"https://{host}:{port}")
    if version != "TLSv1_1":
        assert create(api) == CREATED
        return
    failure = failure_of(api)
    assert type(failure) is ApiUnavailable and not failure.outcome_unknown
    assert "the TLS handshake failed" in str(failure)


def test_the_host_must_be_the_certificates(
    stage: Stage, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = speaking(stage, certificate, "TLSv1_3", by_proxy=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    failure = failure_of(stage.api(f"https://localhost:{port}"))
    assert "the TLS certificate was refused (Hostname mismatch" in str(failure)
