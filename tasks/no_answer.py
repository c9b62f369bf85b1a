"""Why a request had no answer, in words, and whose fault it is."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from requests.exceptions import ProxyError
from urllib3.exceptions import NameResolutionError, NewConnectionError, ReadTimeoutError


@dataclass(frozen=True)
class NoAnswer:
    """Why there is none, whether the request may have reached the server, and whose fault it is."""

    reason: str
    sent: bool
    cause: Literal["network", "certificate", "configuration"] = "network"


class NotHttp(http.client.HTTPException):
    """The server broke HTTP's rules; the message says how, in words of our own."""


#: The first that is among an error's causes says what happened.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (NameResolutionError, "the name of the host could not be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (http.client.RemoteDisconnected, "the connection was closed without an answer"),
    (ConnectionError, "the connection was cut"),
    (ssl.SSLError, "the TLS handshake failed"),
    (http.client.HTTPException, "the answer was not HTTP"),
    (NewConnectionError, "no connection could be made"),
)


def no_answer(
    error: Exception, causes: Sequence[BaseException], *, sent: bool, seconds: float
) -> NoAnswer:
    """What an error and its causes say of a request that ended after so many `seconds`."""
    reason = next(
        (words for kind, words in _REASONS if any(isinstance(cause, kind) for cause in causes)), ""
    )
    for cause in causes:
        if isinstance(cause, NotHttp):
            reason = str(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            refused = f"the TLS certificate was refused ({cause.verify_message})"
            return NoAnswer(refused, sent, "certificate")
        if isinstance(cause, (TimeoutError, ReadTimeoutError)):
            doing = "waiting for the answer" if sent else "connecting"
            reason = f"no time was left after {seconds:.1f} s of {doing}"
    if isinstance(error, ProxyError):
        reason = f"the proxy could not be used: {reason or 'it refused'}"
    if reason or sent:
        return NoAnswer(reason or type(error).__name__, sent)
    return NoAnswer(f"no request could be made ({type(error).__name__})", False, "configuration")


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from, as requests and urllib3 wrap them."""
    pending, seen = [error], set[int]()
    while pending:
        found = pending.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            pending += [found.__context__, found.__cause__, getattr(found, "reason", None)]
            pending += found.args
