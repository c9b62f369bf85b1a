"""One HTTP exchange, bounded in time and size, that never raises.

requests bounds the time between two bytes; a server that sends a byte now and then could hold a
thread for hours. Here every read from the socket, be it a header's or the body's, is given what
is left of the whole call's time.

Only requests' adapter is used, not its Session: so no redirect is followed, no cookie kept, no
.netrc read. What fails comes back as a value: exceptions of requests hold the headers.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from pydantic import SecretStr
from requests import Request, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError
from urllib3.util.connection import allowed_gai_family

from config.values import is_loopback
from tasks.no_answer import NoAnswer, causes_of, no_answer


@dataclass(frozen=True)
class Answer:
    """What the server said; `body` is None if it was too large, cut short or undecodable."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


@dataclass
class _Call:
    until: float
    room: int  # bytes that may still be read
    sent: bool = False

    def left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


_call: ContextVar[_Call] = ContextVar("call")


class _BoundedReader(io.RawIOBase):
    """A socket's file whose reads end with the call's time, and after as much as it may have."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock, self._raw = sock, raw
        self._idle_seconds = sock.gettimeout() or 0.0
        self._call = _call.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(self._idle_seconds, self._call.left()))
        size = self._raw.readinto(buffer)
        self._call.room -= size or 0
        if self._call.room < 0:
            # Trailers or informational answers without an end, of which nobody counts the lines.
            raise http.client.HTTPException("too large")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """Reads status, headers and body (also a proxy's answer to CONNECT) through that file."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp.detach()))


class _BoundedConnection(HTTPConnection):
    response_class = _BoundedResponse
    #: http.client prints what it sends, headers and all, if its own is set.
    debuglevel = 0

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, within one connect timeout, not one for each."""
        host, port, timeout = self._dns_host, self.port, self.timeout or 0.0
        until = time.monotonic() + timeout
        try:
            found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NameResolutionError(host, self, socket.gaierror()) from None
        failure = ConnectTimeoutError(self, "no address")
        try:
            for *_, address in found:
                self._dns_host = str(address[0])
                self.timeout = until - time.monotonic()
                if self.timeout <= 0:
                    raise TimeoutError("timed out")
                try:
                    sock = super()._new_conn()
                except ConnectTimeoutError as error:
                    failure = error
                    continue
                sock.settimeout(max(until - time.monotonic(), 0.001))  # for the TLS handshake
                return sock
        finally:
            self._dns_host, self.timeout = host, timeout
        raise failure

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        _call.get().sent = True
        super().request(*args, **kwargs)


class _BoundedTLSConnection(_BoundedConnection, HTTPSConnection):
    pass


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection


#: Whatever the system's OpenSSL would still speak.
LEAST_TLS: Final = ssl.TLSVersion.TLSv1_2

_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _BoundedPool, "https": _BoundedTLSPool}


class _BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_minimum_version=LEAST_TLS)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(
            proxy, **kwargs, ssl_minimum_version=LEAST_TLS
        )
        manager.pool_classes_by_scheme = _POOLS
        return manager


#: More than anybody's headers have, and less than takes its time.
HEADER_BYTES = 1_000_000


class Transport:
    """A pool of kept-alive connections to one server, for many threads at once.

    Proxies and certificate authorities are those of the usual variables (HTTPS_PROXY, NO_PROXY,
    REQUESTS_CA_BUNDLE, ...) at the time of construction. Certificates are always verified, TLS is
    1.2 or later. What goes to this machine itself goes by no proxy: it would not be encrypted.

    Args:
        base_url: the server, with what its paths begin with.
        connect_timeout: seconds for connecting, TLS included, name look-up (the system's) not.
        read_timeout: seconds in which the next byte must come.
        pool_size: connections kept open; as many as there are threads.
        max_answer_bytes: the largest body that is read, after decompression.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        pool_size: int,
        max_answer_bytes: int,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_answer_bytes = max_answer_bytes
        # Headers, and chunks so small that what is between them is more than they are.
        self._room = 4 * max_answer_bytes + HEADER_BYTES
        self._adapter = _BoundedAdapter(pool_connections=4, pool_maxsize=pool_size, max_retries=0)
        with Session() as session:
            found = session.merge_environment_settings(self._base_url, {}, None, True, None)
        self._proxies = {} if is_loopback(self._base_url) else found["proxies"]
        self._verify = found["verify"] or True

    def close(self) -> None:
        """Close the kept connections; calls under way end on their own."""
        self._adapter.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str | SecretStr],
        body: SecretStr | None = None,
        deadline_seconds: float | None = None,
    ) -> Answer | NoAnswer:
        """Make one request; never repeated, never redirected.

        `path` begins with a slash and is percent-encoded. Secret headers and the body are
        uncovered for this call alone. The whole call takes no longer than `deadline_seconds`, nor
        than the sum of the two timeouts.
        """
        bound = self._connect_timeout + self._read_timeout
        started = time.monotonic()
        call = _Call(started + min(bound, deadline_seconds or bound), self._room)
        _call.set(call)
        try:
            return self._exchange(method, path, headers, body, call)
        except Exception as error:  # noqa: BLE001  whatever it is, its frames hold the headers
            causes = tuple(causes_of(error))
            for cause in causes:
                # urllib3's frames hold the errors that hold them, and all that called them.
                cause.__traceback__ = None
            return no_answer(error, causes, sent=call.sent, seconds=time.monotonic() - started)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | SecretStr],
        body: SecretStr | None,
        call: _Call,
    ) -> Answer:
        request = Request(
            method,
            self._base_url + path,
            headers={name: _uncovered(value) for name, value in headers.items()},
            data=None if body is None else _uncovered(body).encode(),
        )
        response = self._adapter.send(
            request.prepare(),
            stream=True,
            timeout=(min(self._connect_timeout, call.left()), self._read_timeout),
            verify=self._verify,
            proxies=self._proxies,
        )
        return Answer(response.status_code, response.headers, self._body(response))

    def _body(self, response: Response) -> bytes | None:
        try:
            body = response.raw.read(self._max_answer_bytes + 1, decode_content=True)
        except (HTTPError, OSError, http.client.HTTPException):
            return None
        finally:
            response.close()  # a connection whose answer was read whole is back in the pool
        return body if len(body) <= self._max_answer_bytes else None


def _uncovered(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
