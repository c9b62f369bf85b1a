"""One HTTP exchange, bounded in time and size, that never raises.

Only requests' adapter is used, not its Session: so no redirect is followed, no cookie kept, no
.netrc read. What fails comes back as a value: exceptions of requests hold the headers.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pydantic import SecretStr
from requests import Request, RequestException, Response, Session
from urllib3.exceptions import HTTPError

from config.values import is_loopback
from tasks.errors import Interrupted, InvalidInput, WebhookJobError
from tasks.http_connections import Call, CarefulAdapter, OurRequest, current_call
from tasks.no_answer import NoAnswer, causes_of, no_answer


@dataclass(frozen=True)
class Answer:
    """What the server said; `body` is None if it was too large, cut short or undecodable."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


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

    Raises:
        InvalidInput: `base_url` is none.
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
        self._base_url = _prepared(base_url)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_answer_bytes = max_answer_bytes
        # Headers, and chunks so small that what is between them is more than they are.
        self._room = 4 * max_answer_bytes + HEADER_BYTES
        self._adapter = CarefulAdapter(pool_connections=4, pool_maxsize=pool_size, max_retries=0)
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
        before_bytes: Callable[[], None] = lambda: None,
    ) -> Answer | NoAnswer:
        """Make one request; never repeated, never redirected.

        `path` begins with a slash and is percent-encoded. Secret headers and the body are
        uncovered for this call alone. The whole call takes no longer than `deadline_seconds`, nor
        than the sum of the two timeouts. `before_bytes` runs when there is a connection, right
        before the first byte; what it raises of our own errors comes through, and nothing is sent.
        """
        bound = self._connect_timeout + self._read_timeout
        started = time.monotonic()
        until = started + min(bound, deadline_seconds or bound)
        call = Call(until, self._room, before_bytes=before_bytes)
        current_call.set(call)
        try:
            return self._exchange(method, path, headers, body, call)
        except (Interrupted, WebhookJobError) as error:  # whose frames below hold the headers
            raise error.with_traceback(None) from None
        except Exception as error:  # noqa: BLE001  whatever it is, its frames hold the headers
            causes = tuple(causes_of(error))
            for cause in causes:
                # urllib3's frames hold the errors that hold them, and all that called them.
                cause.__traceback__ = None
            if call.way is not None:
                call.way.failed()
            return no_answer(error, causes, sent=call.sent, seconds=time.monotonic() - started)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | SecretStr],
        body: SecretStr | None,
        call: Call,
    ) -> Answer:
        request = OurRequest(
            method,
            self._base_url,
            path,
            headers={name: _uncovered(value) for name, value in headers.items()},
            body=None if body is None else _uncovered(body).encode(),
        )
        response = self._adapter.send(
            request,
            stream=True,
            timeout=(min(self._connect_timeout, call.left()), self._read_timeout),
            verify=self._verify,
            proxies=self._proxies,
        )
        if body is not None and (response.status_code >= 300 or method == "DELETE"):
            # It may have been refused before it was read, or ignored, as the body of a DELETE is by
            # some; what is left of it may yet be taken for a request, with an answer of its own.
            call.may_keep = False
        return Answer(response.status_code, response.headers, self._body(response))

    def _body(self, response: Response) -> bytes | None:
        try:
            body = response.raw.read(self._max_answer_bytes + 1, decode_content=True)
        except (HTTPError, OSError, http.client.HTTPException):
            return None
        finally:
            response.close()  # a connection whose answer was read whole is back in the pool
        return body if len(body) <= self._max_answer_bytes else None


def _prepared(base_url: str) -> str:
    """As requests sends it, without a slash at its end. Raises `InvalidInput`."""
    with suppress(RequestException):
        if url := Request("GET", base_url.rstrip("/") + "/").prepare().url:
            return url.removesuffix("/")
    problem = "is no URL of a server"
    raise InvalidInput(f"COMETCHAT_BASE_URL {problem}", {"COMETCHAT_BASE_URL": problem})


def _uncovered(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
