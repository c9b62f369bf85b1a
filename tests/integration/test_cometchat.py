from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import config
from config.accounts import Credentials
from tasks.cometchat import CometChat
from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    InvalidInput,
    PlanLimit,
    RateLimited,
    WebhookNotFound,
    WebhookRejected,
)
from tests.integration.servers import (
    CREATED,
    KEY,
    ORDERS,
    PASSWORD,
    SECRET,
    Peer,
    Request,
    Stage,
    create,
    failure_of,
    stage_fixture,
)

stage = stage_fixture


def test_what_goes_over_the_wire(stage: Stage) -> None:
    server = stage.answering(200, {"data": CREATED})
    assert create(stage.api(server)) == CREATED
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/apps/acme/webhooks")
    assert json.loads(body) == {
        **ORDERS,
        "enabled": True,
        "useBasicAuth": True,
        "username": "shop",
        "password": PASSWORD,
    }
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "key": KEY,
        "secret": SECRET,
        "x-webhook-version": "2",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"cometchat-webhook-worker/{config.__version__}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }


DONE = {"data": {"success": True, "message": "Done."}}
TRIGGERS = {"data": [{"id": "message_sent", "description": "..."}, {"id": "call_ended"}]}


@pytest.mark.parametrize(
    ("call", "answer", "result", "sent"),
    [
        (
            lambda api: api.list_webhooks("a", version=None),
            {"data": [CREATED, {**CREATED, "id": "b"}]},
            [CREATED, {**CREATED, "id": "b"}],
            ("GET", "/apps/a/webhooks?perPage=1000", None),
        ),
        (
            lambda api: api.get_webhook("a", "w", version=None),
            {"data": [{"data": {**CREATED, "id": "w", "password": PASSWORD}}]},
            {**CREATED, "id": "w"},
            ("GET", "/apps/a/webhooks/w", None),
        ),
        (
            lambda api: api.update_webhook(
                "a", "w", {"id": "w", "name": "N", "password": SecretStr("p")}, version=None
            ),
            [{"data": {**CREATED, "id": "w"}}],
            {**CREATED, "id": "w"},
            ("PUT", "/apps/a/webhooks/w", {"name": "N", "password": "p"}),
        ),
        (
            lambda api: api.update_webhook("a", "w", {"password": "p"}, version=None),
            [{"data": {**CREATED, "id": "w"}}],
            {**CREATED, "id": "w"},
            ("PUT", "/apps/a/webhooks/w", {"password": "p"}),
        ),
        (
            lambda api: api.delete_webhook("a", "w", version=None),
            DONE,
            None,
            ("DELETE", "/apps/a/webhooks/w", None),
        ),
        (
            lambda api: api.add_triggers("a", "w", ["x", "y"], version=None),
            {"data": {"x": {"success": True}, "y": {"success": False}}},
            {"x": True, "y": False},
            ("POST", "/apps/a/webhooks/w/triggers", {"triggerIds": ["x", "y"]}),
        ),
        (
            lambda api: api.list_triggers("a", "w", version=None),
            TRIGGERS,
            ["message_sent", "call_ended"],
            ("GET", "/apps/a/webhooks/w/triggers", None),
        ),
        (
            lambda api: api.remove_triggers("a", "w", ["x"], version=None),
            DONE,
            None,
            ("DELETE", "/apps/a/webhooks/w/triggers", {"triggerIds": ["x"]}),
        ),
    ],
)
def test_each_endpoint(
    stage: Stage, call: Callable[[CometChat], Any], answer: Any, result: Any, sent: Any
) -> None:
    server = stage.answering(200, answer)
    assert call(stage.api(server)) == result
    request = server.requests[0]
    assert (request.method, request.path, json.loads(request.body or b"null")) == sent
    assert "x-webhook-version" not in request.headers


IDS_THAT_LEAVE = (
    *("", ".", "..", "../x", "a/b", "a%2fb", "%2e%2e", "a?b", "a#b", "a;b", "a\\b", "a b", "a\tb"),
    *(
        "a\r\nHost: other.example.com",
        "a\n",
        "a\x00",
        "a\u2025",
        "\uff0e\uff0e",
        "a\uff0fb",
        "a\u2044b",
    ),
    *("\u0430", "\u0661", "\ud800", "a" * 101),
)


@pytest.mark.parametrize(
    ("app_id", "webhook_id"),
    [(one, "w") for one in IDS_THAT_LEAVE] + [("a", one) for one in IDS_THAT_LEAVE],
)
def test_an_id_that_would_change_the_path_is_refused(
    stage: Stage, app_id: str, webhook_id: str
) -> None:
    server = stage.answering(200, {"data": CREATED})
    with pytest.raises(InvalidInput, match="id: "):
        stage.api(server).get_webhook(app_id, webhook_id, version=2)
    assert not server.requests


@pytest.mark.parametrize("key", ["", " x", "x\n", "schlüssel", "a\x00b"])
def test_a_key_that_fits_no_header_is_refused_unseen(key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        CometChat(
            "https://a.example",
            Credentials(SecretStr(SECRET), SecretStr(key)),
            connect_timeout=1.0,
            read_timeout=1.0,
        )
    assert str(refused.value) == "The API's secret must be printable ASCII without spaces around it"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": "ERR_BAD_REQUEST", "message": f"{KEY} {SECRET}"}, WebhookRejected),
        (401, {"code": "AUTH_ERR_INVALID_SECRET_KEY", "message": f"Bad {KEY}"}, AccountRejected),
        (401, {"code": "AUTH_ERR_INVALID_APPID", "message": "?"}, AppNotFound),
        (404, {"code": "ERR_WEBHOOK_NOT_FOUND", "message": "?"}, WebhookNotFound),
        (400, {"message": "Limit of 25 webhooks reached", "details": PASSWORD}, PlanLimit),
        (503, {"message": f"shop:{PASSWORD}"}, ApiUnavailable),
        (404, None, AccountRejected),
    ],
)
def test_an_error_is_raised_in_its_class(
    stage: Stage, status: int, error: Any, kind: type[ApiFailure]
) -> None:
    failure = failure_of(stage.api(stage.answering(status, {"error": error})))
    assert type(failure) is kind
    assert failure.status == status
    assert "webhook 'orders' of app 'acme'" in str(failure)


def test_the_rate_limit_says_how_long_to_wait(stage: Stage) -> None:
    failure = failure_of(stage.api(stage.answering(429, b"", Retry_After="15")))
    assert type(failure) is RateLimited
    assert failure.retry_after == 15.0


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff", b"[]", b"{}", b"[" * 50_000, b'{"data": {"id": 7}}',
     json.dumps({"data": {**CREATED, "id": "other"}}).encode()],
)  # fmt: skip
def test_a_success_that_is_not_understood_leaves_the_outcome_unknown(
    stage: Stage, body: bytes
) -> None:
    failure = failure_of(stage.api(stage.answering(200, body)))
    assert type(failure) is ApiUnavailable
    assert failure.outcome_unknown


def test_an_answer_about_another_webhook_is_not_understood(stage: Stage) -> None:
    api = stage.api(stage.answering(200, {"data": {**CREATED, "id": "other"}}))
    with pytest.raises(ApiUnavailable, match="not understood"):
        api.get_webhook("acme", "orders", version=2)


@pytest.mark.parametrize(
    "shown",
    [{"id": "ORDERS"}, {"name": "Other"}, {"webhookURL": "https://other.example"}],
    ids=lambda shown: next(iter(shown)),
)
def test_a_created_webhook_is_told_by_its_id_in_any_case(
    stage: Stage, shown: dict[str, str]
) -> None:
    api = stage.api(stage.answering(200, {"data": {**CREATED, **shown}}))
    assert create(api) == {**CREATED, **shown}
    if "id" in shown:
        assert api.get_webhook("acme", "orders", version=2) == {**CREATED, **shown}
        assert api.update_webhook("acme", "orders", {}, version=2) == {**CREATED, **shown}


def test_a_deletion_without_success_is_none(stage: Stage) -> None:
    server = stage.answering(200, {"data": {"success": False}})
    with pytest.raises(ApiUnavailable):
        stage.api(server).delete_webhook("acme", "orders", version=2)


@pytest.mark.parametrize("location", ["elsewhere", "http://[", "//\udc80", ""])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(stage: Stage, status: int, location: str) -> None:
    elsewhere = stage.answering(200, {"data": CREATED})
    where = elsewhere.url if location == "elsewhere" else location
    server = stage.server(
        lambda peer, _: peer.reply(status, b"", Location=where.encode("utf-8", "replace").decode())
    )
    assert type(failure_of(stage.api(server))) is AccountRejected
    assert not elsewhere.connections
    assert len(server.requests) == 1


def test_no_netrc_is_read_and_no_cookie_kept(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login shop password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = stage.answering(200, {"data": CREATED}, Set_Cookie="session=1; Path=/")
    api = stage.api(server)
    for _ in range(2):
        create(api)
    for request in server.requests:
        assert not {"cookie", "authorization"} & set(request.headers)


def test_a_connection_is_used_again(stage: Stage) -> None:
    server = stage.answering(200, {"data": CREATED})
    api = stage.api(server)
    for _ in range(5):
        create(api)
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_connection_is_used_again_after_an_error_that_follows_no_body(stage: Stage) -> None:
    server = stage.answering(404, {"error": {"code": "ERR_NOT_FOUND"}})
    api = stage.api(server)
    for _ in range(3):
        with pytest.raises(ApiFailure):
            api.delete_webhook("acme", "orders", version=2)
    assert (len(server.requests), server.connections) == (3, 1)


def test_as_many_connections_are_kept_as_there_are_threads(stage: Stage) -> None:
    together = threading.Barrier(16)

    def reply(peer: Peer, _: Request) -> None:
        together.wait(5)
        peer.reply(200, {"data": CREATED})

    server = stage.server(reply)
    api = stage.api(server, pool_size=16)
    with ThreadPoolExecutor(16) as threads:
        for _ in range(3):
            assert list(threads.map(create, [api] * 16)) == [CREATED] * 16
    assert (len(server.requests), server.connections) == (48, 16)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(stage: Stage) -> None:
    closed = threading.Event()

    def one_answer(peer: Peer) -> None:
        if request := peer.request():
            server.requests.append(request)
            peer.reply(200, {"data": CREATED})
            peer.close()
            closed.set()

    server = stage.raw(one_answer)
    api = stage.api(server)
    for _ in range(2):
        closed.clear()
        assert create(api) == CREATED
        assert closed.wait(5)
    assert server.connections == 2


def test_nothing_secret_is_in_the_clients_own_repr(stage: Stage) -> None:
    api = stage.api("https://a.example")
    assert KEY not in f"{api!r} {vars(api)}" and SECRET not in f"{api!r} {vars(api)}"
