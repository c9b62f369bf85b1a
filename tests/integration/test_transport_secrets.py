"""Key, secret and password leave for the API alone: not in what is raised, logged or printed."""

from __future__ import annotations

import gc
import http.client
import logging
import sys
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import pytest
import requests
from pydantic import SecretStr
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from tasks.cometchat import CometChat
from tasks.errors import ApiFailure
from tasks.webhook import Webhook
from tests.integration.servers import CREATED, IMPATIENT, KEY, SECRET, Peer, Stage, stage_fixture

stage = stage_fixture

PASSWORD = "Hunter2Hunter2Hunter2"
WEBHOOK = Webhook(
    id="orders",
    name="Orders",
    webhookURL="https://shop.example.com/hook",
    username="chat",
    password=PASSWORD,
)
CANARIES = (KEY, SECRET, PASSWORD)
ANSWER = {"data": {**CREATED, **WEBHOOK.wire()}}


def create(api: CometChat) -> Any:
    return api.create_webhook("acme", WEBHOOK, version=2)


def failure_of(api: CometChat) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        create(api)
    return caught.value


def reached_from(error: BaseException) -> Iterator[Any]:
    """All that a traceback with local variables, or whoever looks into the error, would show."""
    pending: list[Any] = [error]
    seen: set[int] = set()
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, BaseException):
            pending += [found.__cause__, found.__context__, found.__traceback__]
            pending += [*found.args, *vars(found).values()]
        elif isinstance(found, TracebackType):
            pending += [found.tb_next, found.tb_frame]
        elif isinstance(found, FrameType):
            # Not those of this file, which know what they ask for.
            own = found.f_code.co_filename == __file__
            pending += [] if own else [dict(found.f_locals)]
        elif isinstance(found, dict):
            pending += [*found, *found.values()]
        elif isinstance(found, (list, tuple, set)):
            pending += found


def assert_untold(error: BaseException) -> None:
    for found in reached_from(error):
        assert not isinstance(found, (PreparedRequest, requests.RequestException, HTTPError)), found
        if isinstance(found, (str, bytes)):
            text = found if isinstance(found, str) else found.decode(errors="replace")
            assert [canary for canary in CANARIES if canary in text] == []


def raising(make: Callable[[PreparedRequest], Exception]) -> Callable[..., None]:
    """An adapter that fails as requests does: its errors hold the request, headers and all."""

    def send(_: object, request: PreparedRequest, **__: object) -> None:
        assert request.headers["secret"] == SECRET and PASSWORD in str(request.body)
        raise make(request) from ValueError(f"{request.headers} {request.body!r}")

    return send


ERRORS: dict[str, Callable[[PreparedRequest], Exception]] = {
    kind.__name__: lambda request, kind=kind: kind(str(request.headers), request=request)
    for kind in (
        *(requests.ConnectionError, requests.Timeout, requests.ReadTimeout),
        *(requests.TooManyRedirects, requests.exceptions.SSLError, requests.exceptions.ProxyError),
        *(requests.exceptions.InvalidHeader, requests.exceptions.ChunkedEncodingError),
    )
}  # fmt: skip
ERRORS |= {
    "of urllib3": lambda request: requests.ConnectionError(
        MaxRetryError(None, str(request.headers), ProtocolError("cut", request)),  # type: ignore[arg-type]
        request=request,
    ),
    "a bug": lambda request: KeyError(request.headers["secret"], request),
    "a broken codec": lambda request: UnicodeEncodeError("ascii", str(request.body), 0, 1, "bad"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_what_requests_raises_is_not_raised_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.setattr(HTTPAdapter, "send", raising(ERRORS[error]))
    assert_untold(failure_of(stage.api("https://api.example")))


REPLIES: dict[str, Callable[[Peer], object]] = {
    "nothing": lambda peer: peer.request(),
    "no HTTP": lambda peer: peer.request() and peer.sock.sendall(b"SSH-2.0\r\n"),
    "silence": lambda peer: peer.request() and peer.stop.wait(),
    "an error": lambda peer: peer.request() and peer.reply(500),
    "the request": lambda peer: (
        (asked := peer.request())
        and peer.reply(
            400,
            {"error": {"code": "ERR_BAD", "message": f"{asked.headers} {asked.body!r}"}},
        )
    ),
    "a redirect": lambda peer: (
        peer.request() and peer.reply(302, Location=f"http://127.0.0.1:1/{SECRET}")
    ),
}


@pytest.mark.parametrize("reply", REPLIES)
def test_nor_is_what_a_server_makes_of_it(stage: Stage, reply: str) -> None:
    api = stage.api(stage.raw(REPLIES[reply]), **IMPATIENT)
    assert_untold(failure_of(api))


def test_no_request_stays_in_memory_once_the_call_is_over(stage: Stage) -> None:
    """Not even as garbage that is yet to be collected."""
    gc.collect()
    gc.disable()
    try:
        for reply in REPLIES:
            failure_of(stage.api(stage.raw(REPLIES[reply]), **IMPATIENT))
        assert create(stage.api(stage.answering(200, ANSWER))) == ANSWER["data"]
        assert [one for one in gc.get_objects() if isinstance(one, PreparedRequest)] == []
    finally:
        gc.enable()


def test_no_library_prints_or_logs_it(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the most talkative that http.client, requests and urllib3 can be made."""
    server = stage.answering(200, ANSWER)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "urllib3.connection", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    assert create(stage.api(server)) == ANSWER["data"]
    failure_of(stage.api(stage.raw(REPLIES["no HTTP"]), **IMPATIENT))
    failure_of(stage.api(f"http://127.0.0.1:{1}"))
    sys.stdout.flush()
    told = "".join(capfd.readouterr()) + caplog.text
    assert "/apps/acme/webhooks" in caplog.text  # which urllib3 does say
    assert [canary for canary in CANARIES if canary in told] == []
    # The negative control: what anybody else's call would print.
    requests.post(server.url, headers={"secret": SECRET}, timeout=5)
    assert SECRET in "".join(capfd.readouterr())


def test_neither_does_a_proxys_login(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    proxy = stage.raw(lambda peer: peer.request() and peer.reply(407))
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:proxy-login@"))
    failure = failure_of(stage.api("https://api.example", **IMPATIENT))
    assert_untold(failure)
    told = f"{failure}{capfd.readouterr()}"
    assert "proxy-login" not in told and "dXNlcjpwcm94eS1sb2dpbg" not in told


def test_a_clients_own_secrets_are_hidden(stage: Stage) -> None:
    api = stage.api("https://api.example")
    shown = f"{api!r} {vars(api)!r} {vars(api._pairs)!r} {vars(api._transport)!r} {WEBHOOK!r}"
    assert [canary for canary in CANARIES if canary in shown] == []
    assert isinstance(WEBHOOK.password, SecretStr)
