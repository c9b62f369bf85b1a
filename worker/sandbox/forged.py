"""The answers that a fault puts in the place of the true one, as far as they are plain HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import formatdate

from worker.sandbox.answers import Answer, ApiError
from worker.sandbox.faults import HeadersStyle, Rule

#: What an answer says where the operation had no effect but the client shall read a success.
PLACEHOLDER = Answer(200, b'{"data":{"success":true,"message":"The sandbox made this up."}}')

_GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>{status} Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
_NO_JSON = b'\x1f\x8b\x08\xff\xfe{"data": \x00not json'


def forged_answer(rule: Rule, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return the answer that the rule gives.

    Args:
        rule: a rule of the kinds `status`, `garbage`, `html`, `empty`, `redirect`, `rate_limit`
            or `echo`.
        headers: those of the request, for `echo`.
        body: that of the request, for `echo`.

    Raises:
        ValueError: the rule's kind is played on the wire, not answered.
    """
    match rule.kind:
        case "status":
            return _status(rule)
        case "garbage":
            return Answer(200, _NO_JSON)
        case "html":
            page = _GATEWAY_PAGE.format(status=rule.status).encode()
            return Answer(rule.status, page, {"Content-Type": "text/html"})
        case "empty":
            return Answer(200, b"")
        case "redirect":
            return Answer(302, b"", {"Location": rule.location})
        case "rate_limit":
            return _rate_limit(rule)
        case "echo":
            return _echo(headers, body)
    raise ValueError(f"A rule of the kind {rule.kind} has no plain answer.")


def rate_limit_headers(
    style: HeadersStyle, seconds: float, now: float, *, limit: int = 500, left: int = 0
) -> dict[str, str]:
    """Return the headers that tell a client to wait.

    CometChat's pages on rate limits name `X-RateLimit-*` on one and `X-Rate-Limit*` on others;
    the reset is an instant in unix seconds, for `x-ratelimit-ms` in milliseconds.

    Args:
        style: which of the headers.
        seconds: how long to wait; told in whole seconds, rounded up.
        now: the present in unix seconds.
        limit: how many calls are allowed; that of the free plan is 500 a minute.
        left: how many of them may still be made.
    """
    reset = str(math.ceil(now + seconds))
    match style:
        case "retry-after":
            return {"Retry-After": str(math.ceil(seconds))}
        case "retry-after-date":
            return {"Retry-After": formatdate(math.ceil(now + seconds), usegmt=True)}
        case "x-ratelimit":
            prefix, name = "X-RateLimit", "X-RateLimit-Limit"
        case "x-ratelimit-ms":
            prefix, name, reset = "X-RateLimit", "X-RateLimit-Limit", f"{reset}000"
        case "x-rate-limit":
            prefix, name = "X-Rate-Limit", "X-Rate-Limit"
        case "none":
            return {}
    return {name: str(limit), f"{prefix}-Remaining": str(left), f"{prefix}-Reset": reset}


def _status(rule: Rule) -> Answer:
    if rule.body is not None:
        return Answer(rule.status, rule.body.encode(), rule.headers)
    return ApiError(rule.status, rule.code, rule.message).answer(rule.headers)


def _rate_limit(rule: Rule) -> Answer:
    headers = rate_limit_headers(rule.headers_style, rule.duration, time.time())
    error = ApiError(429, "ERR_TOO_MANY_REQUESTS", "Too many requests.")
    return error.answer({**headers, **rule.headers})


def _echo(headers: Mapping[str, str], body: bytes) -> Answer:
    told = "; ".join(f"{name}: {value}" for name, value in headers.items())
    message = f"The request was refused. Headers: {told}. Body: {body.decode(errors='replace')}"
    return ApiError(401, "AUTH_ERR_INVALID_SECRET_KEY", message).answer()
