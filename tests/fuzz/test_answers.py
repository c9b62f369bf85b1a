"""Whatever the API answers, the client has an answer or one of its failures, in time and bounds."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from pydantic import SecretStr

from config.accounts import Credentials
from tasks import answers
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure
from tasks.existing import changes_for
from tasks.rate_headers import announced
from tasks.retry_after import MAX_WAIT
from tasks.subject import Subject
from tasks.webhook import Webhook
from tests.fuzz.harness import SEED, explore, run, share, watched
from tests.fuzz.mutation import mutations

KEY, SECRET, PASSWORD = "the-key-4711", "top-secret-42", "hunter2hunter2"
SECRETS: Final = tuple(map(SecretStr, (KEY, SECRET, PASSWORD)))
CREATED: Final = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}
WEBHOOK: Final = Webhook.parse({**CREATED, "username": "shop", "password": PASSWORD})
ERROR: Final = {
    "error": {
        "code": "ERR_BAD_REQUEST",
        "message": f"Failed to validate {KEY}.",
        "details": {"webhookURL": ["The webhook url must be valid.", SECRET], "id": "Taken."},
    }
}
BODIES: Final[list[Any]] = [
    {"data": CREATED},
    [{"data": {**CREATED, "password": PASSWORD, "createdAt": 1684141151, "enabled": True}}],
    {"data": [{"data": CREATED}, {"data": {**CREATED, "id": "b"}}]},
    {"data": {"": CREATED}},
    {"data": {"success": True, "message": "Done."}},
    {"data": {"message_sent": {"success": True}, "user_blocked": {"success": False}}},
    {"data": [{"id": "message_sent"}, {"id": "user_blocked"}]},
    ERROR,
]
HEADERS: Final = (
    "Retry-After: 120",
    "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",
    "X-RateLimit-Limit: 500\r\nX-RateLimit-Remaining: 3\r\nX-RateLimit-Reset: 1700000060",
    "Date: Thu, 26 Nov 2026 06:00:00 GMT",
    "Set-Cookie: a=b; Domain=evil.org\r\nLocation: https://evil.org/",
)
INTERIM: Final = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
)

#: What a terminal would obey.
OBEYED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

#: What each method makes of an answer.
CALLS: Final[tuple[Callable[[CometChat], Any], ...]] = (
    lambda api: api.create_webhook("acme", WEBHOOK, version=2),
    lambda api: api.get_webhook("acme", "orders", version=2),
    lambda api: api.list_webhooks("acme", version=None),
    lambda api: api.update_webhook("acme", "orders", {"password": PASSWORD}, version=2),
    lambda api: api.delete_webhook("acme", "orders", version=2),
    lambda api: api.add_triggers("acme", "orders", ["message_sent"], version=2),
    lambda api: api.list_triggers("acme", "orders", version=2),
)


def whole(status: int, body: bytes, *headers: str) -> bytes:
    """An answer as it goes over the wire."""
    told = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\n{told}\r\n".encode() + body


def chunked(body: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX: y\r\n\r\n"


def good() -> list[bytes]:
    """Answers as they may be."""
    found = []
    for number, value in enumerate(BODIES):
        body = json.dumps(value).encode()
        status = 400 if value is ERROR else 200
        found += [
            whole(status, body, HEADERS[number % len(HEADERS)]),
            chunked(body),
            whole((429, 503, 302, 401, 404, 409)[number % 6], body, *HEADERS),
            whole(200, gzip.compress(body), "Content-Encoding: gzip"),
            whole(200, zlib.compress(body), "Content-Encoding: deflate, gzip"),
            b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + whole(200, body),
            INTERIM[number % len(INTERIM)] * (number + 1) + whole(200, body),
            INTERIM[number % len(INTERIM)] + whole(status, body) + whole(200, b""),
            whole(204, b""),
        ]
    return found


class Wire:
    """A server that answers each connection with the bytes at hand, and closes it."""

    def __init__(self) -> None:
        self.answer: bytes | Iterator[bytes] = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                try:
                    self._meet(sock)
                except OSError:
                    continue

    def _meet(self, sock: socket.socket) -> None:
        sock.settimeout(5)
        request = b""
        while b"\r\n\r\n" not in request:
            if not (got := sock.recv(65_536)):
                return
            request += got
        answer = self.answer
        for part in (answer,) if isinstance(answer, bytes) else answer:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):  # until the client has read what it wants
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(name="wire")
def wire_fixture() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def client(wire: Wire, read_timeout: float = 5.0) -> CometChat:
    pair = Credentials(SecretStr(KEY), SecretStr(SECRET))
    return CometChat(wire.url, pair, connect_timeout=1.0, read_timeout=read_timeout, pool_size=1)


def said(failure: ApiFailure) -> None:
    """What is told of a failure is a line, of some length, without a secret."""
    for told in (str(failure), failure.api_message or "", failure.code or ""):
        assert len(told) < 2_000
        assert not [one for one in (KEY, SECRET, PASSWORD) if one in told]
        assert not OBEYED.search(told)
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_WAIT


def test_any_answer_over_the_wire_is_read_or_a_failure(wire: Wire) -> None:
    api = client(wire)
    calls = iter(range(10**9))

    def ask(raw: bytes) -> None:
        wire.answer = raw
        try:
            json.dumps(CALLS[next(calls) % len(CALLS)](api)).encode()
        except ApiFailure as failure:
            said(failure)

    run("answers (wire)", mutations(good(), SEED, share(0.1)), ask)


def test_any_body_is_understood_or_a_failure() -> None:
    statuses = iter([200, 201, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503] * 10**5)

    def read(body: bytes) -> None:
        answer = answers.parse(body)
        for found in answers.webhooks_in(answer) or []:
            changes_for(CREATED, found)
            json.dumps(found, ensure_ascii=False).encode()
        answers.triggers_in(answer)
        answers.successes_in(answer, ["message_sent"])
        subject = Subject("acme", "orders")
        said(answers.failure(next(statuses), {}, body, now=1.7e9, subject=subject, secrets=SECRETS))

    bodies = [json.dumps(value).encode() for value in BODIES]
    bodies += [b'{"data": {"id": "a", "id": "b"}}', b'{"data": NaN}', b"<html>\xff</html>", b""]
    run("answers (bodies)", mutations(bodies, SEED, share(0.16)), read)


NAMES: Final = (
    *("Retry-After", "Date", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("X-Rate-Limit", "X-Rate-Limit-Reset", "X-Rate-Limit-Remaining"),
    *("RateLimit", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)

#: Each way to tell a time, in each unit, on either side of the clock of `NOW`.
NOW: Final = 1.7e9
ahead = st.integers(-10, 10**6) | st.sampled_from([0, 1, 59, 600, 601, 86_400, 10**9])
told_times = st.one_of(
    st.tuples(ahead, st.sampled_from([1, 10**3, 10**6, 10**9]), st.booleans()).map(
        lambda of: str(round((of[0] + NOW * of[2]) * of[1]))
    ),
    ahead.map(lambda s: f"{NOW + s:.3f}"),
    ahead.map(lambda s: f"{NOW + s:g}"),
    ahead.map(lambda s: f"{s // 60}m{s % 60}s"),
    ahead.map(lambda s: datetime.fromtimestamp(NOW + s, UTC).isoformat()),
    ahead.map(lambda s: formatdate(NOW + s, usegmt=True)),
)

lines = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        told_times,
        st.lists(told_times, max_size=4).map(", ".join),
        st.text(st.characters(max_codepoint=255), max_size=60),
        st.from_regex(r"\A\s*-?[0-9]{1,20}(\.[0-9]{1,20})?\s*\Z"),
        st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        st.sampled_from(["9" * 400, "inf", "nan", "1e400", "-0", "9" * 60_000, " " * 60_000]),
        st.sampled_from(
            ["Mon, " * 9_000, "(" * 60_000, '"' * 60_000, "1 Jan 99999999999", "0:" * 9_000]
        ),
    ),
    max_size=8,
)


def test_any_headers_are_a_wait_or_nothing() -> None:
    def read(headers: dict[str, str]) -> None:
        told = announced(headers, now=NOW)
        if told is not None:
            assert all(number == number and abs(number) != float("inf") for number in told)
        for status in (200, 429, 503):
            failure = answers.failure(
                status, headers, b"", now=NOW, subject=Subject("acme"), secrets=()
            )
            said(failure)

    explore("answers (headers)", lines, read, share(0.015))


def endless(beginning: bytes, part: bytes, most: int = 1 << 30) -> Iterator[bytes]:
    yield beginning
    for _ in range(most // len(part)):
        yield part


def bomb(wbits: int) -> bytes:
    """A hundred megabytes in a hundred kilobytes."""
    compress = zlib.compressobj(1, wbits=wbits)
    return b"".join([*(compress.compress(bytes(1_000_000)) for _ in range(100)), compress.flush()])


GZIP, ZLIB = 31, 15


OK: Final = b"HTTP/1.1 200 OK\r\n"
BIG: Final[dict[str, Callable[[], bytes | Iterator[bytes]]]] = {
    "a gigabyte": lambda: endless(OK + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65_536),
    "a gigabyte in chunks": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    ),
    "a gigabyte to the end": lambda: endless(OK + b"\r\n", b"x" * 65_536),
    "a chunk without an end": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", b"x" * 65_536
    ),
    "a size of a chunk without an end": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65_536
    ),
    "a line of the status without an end": lambda: endless(b"HTTP/1.1 200 ", b"x" * 65_536),
    "a header without an end": lambda: endless(OK + b"X: ", b"x" * 65_536),
    "headers without an end": lambda: endless(OK, b"X: y\r\n" * 10_000),
    "trailers without an end": lambda: endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X: y\r\n" * 10_000
    ),
    "informational answers without an end": lambda: endless(
        b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000
    ),
    "a gzip bomb": lambda: whole(200, bomb(GZIP), "Content-Encoding: gzip"),
    "a deflate bomb": lambda: whole(200, bomb(ZLIB), "Content-Encoding: deflate"),
    "a gzip bomb in another": lambda: whole(
        200, gzip.compress(bomb(GZIP)), "Content-Encoding: gzip, gzip"
    ),
    "deep JSON": lambda: whole(200, b"[" * 1_000_000),
    "many values": lambda: whole(200, b"[" + b"{}," * 340_000 + b"0]"),
    "a long number": lambda: whole(200, b"[" + b"9" * 1_000_000 + b"]"),
    "a long message": lambda: whole(400, b'{"error": {"message": "' + b"a" * 1_000_000 + b'"}}'),
    "many details": lambda: whole(
        400, json.dumps({"error": {"details": {str(n): "x" for n in range(80_000)}}}).encode()
    ),
}


@pytest.mark.parametrize("name", BIG)
def test_no_answer_is_too_large(wire: Wire, name: str) -> None:
    """A second of this process's time is the server's, too."""
    wire.answer = BIG[name]()
    api = client(wire, read_timeout=20.0)
    started = time.monotonic()
    with watched("answers (big)", name), pytest.raises(ApiFailure) as failure:
        api.get_webhook("acme", "orders", version=2)
    assert time.monotonic() - started < 15, "its size had no bound, the call's time alone"
    said(failure.value)
