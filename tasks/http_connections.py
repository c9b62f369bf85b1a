"""Connections over HTTP that are bounded in time and size, and kept only while they are clean.

requests bounds the time between two bytes; a server that sends a byte now and then could hold a
thread for hours. Here every read from the socket, be it a header's or the body's, is given what
is left of the whole call's time.

A connection with anything unread is never used again: the next call would take it for its answer.
Bytes that came with an answer are looked for when the answer was read, others right before the next
request. Informational answers (1xx) are read on through, until the final one.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from tasks.happy_eyeballs import Way, connect
from tasks.no_answer import NotHttp

#: Informational answers before the final one. Their time and size are bounded, too.
MOST_INFORMATIONAL: Final = 100


@dataclass
class Call:
    """What one call may still use, and what is known of it."""

    until: float  # by the monotonic clock
    room: int  # bytes that may still be read
    sent: bool = False
    before_bytes: Callable[[], None] = lambda: None  # what it raises ends the call
    may_keep: bool = True  # the connection, for the next call
    way: Way | None = None  # of the connection, if it was made for this call

    def left(self) -> float:
        """Seconds; raises `TimeoutError` if there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


#: The call that this thread makes.
current_call: ContextVar[Call] = ContextVar("current_call")


class _BoundedReader(io.RawIOBase):
    """A socket's file whose reads end with the call's time, and after as much as it may have."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock, self._raw = sock, raw
        self._idle_seconds = sock.gettimeout() or 0.0
        self.call = current_call.get()
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.is_over:
            return None
        self._sock.settimeout(min(self._idle_seconds, self.call.left()))
        size = self._raw.readinto(buffer)
        self.call.room -= size or 0
        if self.call.room < 0:
            # Trailers or informational answers without an end, of which nobody counts the lines.
            raise http.client.HTTPException("too large")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _AnswerFile(io.BufferedReader):
    """An answer's file; http.client closes it when the answer was read."""

    raw: _BoundedReader

    def close(self) -> None:
        if not self.closed:
            self.raw.is_over = True
            if self.peek(1):  # came with the answer, and is no part of it
                self.raw.call.may_keep = False
        super().close()


class _CarefulResponse(http.client.HTTPResponse):
    """Reads status, headers and body (also a proxy's answer to CONNECT) through that file."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _AnswerFile(_BoundedReader(sock, self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        """The final answer's; http.client takes all informational ones but 100 for final."""
        for _ in range(MOST_INFORMATIONAL + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200:
                return version, status, reason
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise NotHttp("the server changed to another protocol than HTTP")
            http.client.parse_headers(self.fp)
        raise NotHttp(f"no final answer came after {MOST_INFORMATIONAL} informational ones")


def _unasked(sock: Any) -> bytes | None:
    """A byte that came unasked, b"" if the server closed the connection, None as a rule."""
    usual = sock.gettimeout()
    sock.settimeout(0)
    try:
        return sock.recv(1)  # type: ignore[no-any-return]
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        return b""
    finally:
        sock.settimeout(usual)


class _CarefulConnection(HTTPConnection):
    response_class = _CarefulResponse
    #: http.client prints what it sends, headers and all, if its own is set.
    debuglevel = 0
    _held: list[Any] | None = None

    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses, within one connect timeout for all of them."""
        seconds = self.timeout or 0.0
        until = time.monotonic() + seconds
        try:
            sock, way = connect(
                self._dns_host,
                self.port,
                seconds,
                family=allowed_gai_family(),
                options=self.socket_options or (),
            )
        except socket.gaierror:
            raise NameResolutionError(self.host, self, socket.gaierror()) from None
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise NewConnectionError(self, "no address") from error
        sock.settimeout(max(until - time.monotonic(), 0.001))  # for the TLS handshake
        current_call.get().way = way
        return sock

    @property
    def is_connected(self) -> bool:
        """Whether a kept connection can be used; urllib3 makes it anew if not.

        It is read from, as TLS may hold back what the socket no longer has.
        """
        return self.sock is not None and _unasked(self.sock) is None

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self._held = []
        try:
            super().request(*args, **kwargs)
        finally:
            held, self._held = self._held, None
        # In one piece, so that no answer can come in between.
        if early := _unasked(self.sock):
            raise NotHttp("the server spoke before it was asked")
        if early is not None:
            raise ConnectionAbortedError
        call = current_call.get()
        call.before_bytes()
        call.left()
        call.sent = True
        super().send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _CarefulTLSConnection(_CarefulConnection, HTTPSConnection):
    pass


class _CleanPool(HTTPConnectionPool):
    ConnectionCls = _CarefulConnection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None and not current_call.get().may_keep:
            conn.close()
        super()._put_conn(conn)


class _CleanTLSPool(_CleanPool, HTTPSConnectionPool):
    ConnectionCls = _CarefulTLSConnection


#: Whatever the system's OpenSSL would still speak.
LEAST_TLS: Final = ssl.TLSVersion.TLSv1_2

_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _CleanPool, "https": _CleanTLSPool}


class OurRequest(PreparedRequest):
    """A request of which all is known: nothing of it has to be parsed.

    Args:
        method: in capitals.
        base_url: as requests prepares it, without a slash at its end.
        path: behind that, percent-encoded.
        headers: printable ASCII.
        body: the whole of it, if there is one.
    """

    path_url = ""

    def __init__(
        self, method: str, base_url: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        super().__init__()
        self.method, self.url, self.body = method, base_url + path, body
        self.path_url = "/" + self.url.split("/", 3)[3]
        self.headers = CaseInsensitiveDict(headers)
        if body is not None or method not in ("GET", "HEAD"):
            self.headers["Content-Length"] = str(len(body or b""))


class CarefulAdapter(HTTPAdapter):
    """requests' adapter with such connections, also to and through proxies, for one server.

    So what requests works out anew for each request is worked out once: the pool for this server,
    and which authorities its certificate is verified by. Of an answer it makes what we read.
    """

    #: The server's pool, once it knows by which authorities to verify.
    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Called by requests for each request."""
        pool = self._pool
        return super().get_connection_with_tls_context(*args, **kwargs) if pool is None else pool

    def cert_verify(self, conn: Any, *args: Any) -> None:
        """Called by requests for each request, before it is sent."""
        if conn is not self._pool:
            super().cert_verify(conn, *args)  # type: ignore[no-untyped-call]
            self._pool = conn

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Called by requests for each request: what its first line names."""
        return str(super().request_url(request, proxies) if proxies else request.path_url)

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Called by requests for each answer."""
        response = Response()
        response.status_code, response.raw = resp.status, resp
        response.headers = CaseInsensitiveDict(resp.headers)
        return response

    def close(self) -> None:
        """Close the kept connections."""
        self._pool = None
        super().close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Called by requests for what goes by no proxy."""
        super().init_poolmanager(*args, **kwargs, ssl_minimum_version=LEAST_TLS)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        """Called by requests for what goes by a proxy."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(
            proxy, **kwargs, ssl_minimum_version=LEAST_TLS
        )
        manager.pool_classes_by_scheme = _POOLS
        return manager
