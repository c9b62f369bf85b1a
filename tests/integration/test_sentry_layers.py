"""Each layer that keeps secrets from Sentry, with all others taken away, by the SDK's own requests.

A stand-in for Sentry decompresses what the real SDK sends. What each layer would have kept back is
shown by the same event without any of them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import sentry_sdk
import sentry_sdk.logger
import sentry_sdk.metrics
from pydantic import SecretStr
from sentry_sdk.crons import capture_checkin

from config.secrets import known_secrets
from config.settings import load_settings
from tests.conftest import SentrySink
from worker.sentry import options
from worker.sentry_scrub import HOOKS

#: The settings that send little, turned to their opposite.
TALKATIVE = {
    "include_local_variables": True,
    "include_source_context": True,
    "send_default_pii": True,
    "max_request_body_size": "always",
    "max_breadcrumbs": 100,
    "enable_logs": True,
    "traces_sample_rate": 1.0,
    "attach_stacktrace": True,
    "event_scrubber": None,
}
#: The SDK as it is without what looks for secrets by value.
BARE: dict[str, Any] = {**dict.fromkeys(HOOKS), "transport": None}


class Canaries(NamedTuple):
    key: str
    secret: str
    password: str
    redis: str

    def in_any_form(self) -> dict[str, str]:
        """Each, and what else would tell it."""
        found = {}
        for name, value in self._asdict().items():
            found |= {name: value, f"{name} in hex": value.encode().hex()}
            found[f"{name} in URLs"] = quote(value, "")
            found[f"{name} in base64"] = base64.b64encode(f"chat:{value}".encode()).decode()[8:-4]
        return found

    def seen_in(self, raw: list[bytes]) -> set[str]:
        text = b"\n".join(raw).decode()
        return {name for name, value in self.in_any_form().items() if value in text}


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """Fresh ones, which this process knows as it knows those of its settings and webhooks."""
    made = Canaries(*(f"{secrets.token_hex(8)}/{name}+" for name in Canaries._fields[:2]),
                    secrets.token_hex(12), secrets.token_urlsafe(16))  # fmt: skip
    fresh = type(known_secrets)()
    fresh.learn(map(SecretStr, (made.key, made.secret, made.redis)))
    fresh.opened(SecretStr(made.password))
    monkeypatch.setattr("worker.sentry_scrub.known_secrets", fresh)
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[SentrySink]:
    one = SentrySink()
    yield one
    one.server.shutdown()


@pytest.fixture
def sink(server: SentrySink) -> SentrySink:
    server.raw.clear()
    server.events.clear()
    return server


Send = Callable[..., None]


@pytest.fixture
def send(sink: SentrySink) -> Iterator[Callable[..., None]]:
    """Runs something with an SDK of these options, and waits until all is sent."""
    before = sentry_sdk.get_client()

    def run(tell: Callable[[], Any], **loosened: Any) -> None:
        settings = load_settings(_env_file=None)
        chosen = {**options(sink.dsn, settings), **loosened}
        client = sentry_sdk.Client(**{n: v for n, v in chosen.items() if v is not None})
        with sentry_sdk.isolation_scope(), sentry_sdk.new_scope():
            sentry_sdk.get_global_scope().set_client(client)
            tell()
            client.flush(timeout=10)
        client.close(timeout=10)
        assert sink.raw

    yield run
    sentry_sdk.get_global_scope().set_client(before)


def raise_with(canaries: Canaries) -> None:
    """Fail as a careless program would: secrets among the locals and in the message."""
    key, given = canaries.key, canaries.password
    headers = {"secret": canaries.secret, key: "a key", "redis": canaries.redis.encode()}
    basic = base64.b64encode(f"chat:{given}".encode()).decode()
    url = f"https://h/?k={quote(canaries.key, '')}&h={canaries.secret.encode().hex()}"
    raise RuntimeError(f"refused {headers} {url} Basic {basic} {len(headers)}")


def tell_all(canaries: Canaries, *, attach: bool = True) -> None:
    """Everything that the SDK can send."""
    told = f"it is {canaries.secret}"
    scope = sentry_sdk.get_current_scope()
    scope.set_tag("app", "acme")
    scope.set_tag(canaries.key, canaries.password)
    scope.set_extra("redis", {"url": f"redis://:{canaries.redis}@h", canaries.redis: [told]})
    scope.set_user({"username": canaries.password})
    if attach:
        scope.add_attachment(bytes=told.encode(), filename=f"{canaries.password}.txt")
    sentry_sdk.add_breadcrumb(message=told, data={canaries.key: canaries.password})
    with sentry_sdk.start_transaction(name=f"call {canaries.password}", op="http") as transaction:
        transaction.set_data("secret", told)
        with transaction.start_child(op="redis", name=canaries.redis):
            pass
        try:
            raise_with(canaries)
        except RuntimeError as error:
            sentry_sdk.capture_exception(error)
    sentry_sdk.capture_message(told)
    sentry_sdk.logger.warning(told, attributes={"key": canaries.key, canaries.password: 1})
    sentry_sdk.metrics.count(canaries.password, 1, attributes={"key": canaries.key})
    capture_checkin(monitor_slug=canaries.password, status="ok")


KINDS = {b'"type":"' + kind + b'"' for kind in (
    *(b"event", b"transaction", b"log", b"trace_metric", b"check_in", b"attachment"),
)}  # fmt: skip


def kinds_in(raw: list[bytes]) -> set[bytes]:
    body = b"\n".join(raw).replace(b'": "', b'":"')
    return {kind for kind in KINDS if kind in body}


def test_without_any_layer_all_of_it_arrives(
    send: Send, sink: SentrySink, canaries: Canaries
) -> None:
    """The negative control: the stand-in sees what there is to see."""
    send(lambda: tell_all(canaries), **TALKATIVE, **BARE)
    assert kinds_in(sink.raw) == KINDS
    assert {"key", "secret", "password", "redis"} <= canaries.seen_in(sink.raw)
    assert {"key in URLs", "secret in hex", "password in base64"} <= canaries.seen_in(sink.raw)
    variables = sink.events[0]["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]
    assert canaries.password in variables["given"]


#: What is left of the two that look for values; the hooks are not shown attachments.
LAYERS: dict[str, dict[str, Any]] = {
    "both": {},
    "hooks": {"transport": None},
    "transport": dict.fromkeys(HOOKS),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_alone_keeps_all_secrets_back(
    send: Send, sink: SentrySink, canaries: Canaries, layer: str
) -> None:
    attach = layer != "hooks"
    send(lambda: tell_all(canaries, attach=attach), **TALKATIVE, **LAYERS[layer])
    assert kinds_in(sink.raw) == (KINDS if attach else KINDS - {b'"type":"attachment"'})
    assert canaries.seen_in(sink.raw) == set()
    fault = next(event for event in sink.events if "exception" in event)
    assert fault["exception"]["values"][0]["value"].startswith("refused {'secret': '[redacted]'")
    assert fault["tags"]["app"] == "acme"


def test_the_settings_alone_keep_back_what_nobody_said(
    send: Send, sink: SentrySink, canaries: Canaries
) -> None:
    def tell() -> None:
        given = canaries.password
        sentry_sdk.add_breadcrumb(message=canaries.key)
        try:
            raise RuntimeError(f"{len(given)} characters")
        except RuntimeError as error:
            sentry_sdk.capture_exception(error)

    send(tell, **BARE)
    assert sink.events[0]["exception"]["values"][0]["value"] == "24 characters"
    assert canaries.seen_in(sink.raw) == set()
    send(tell, **TALKATIVE, **BARE)
    assert {"key", "password"} <= canaries.seen_in(sink.raw)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_cannot_be_searched_arrives_as_a_bare_event(
    send: Send,
    sink: SentrySink,
    canaries: Canaries,
    layer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("config.scrub.MAX_VALUES", 10)
    told: list[str | None] = []

    def tell() -> None:
        sentry_sdk.get_current_scope().set_tags({"app": "acme", "other": canaries.key})
        try:
            raise_with(canaries)
        except RuntimeError as error:
            told.append(sentry_sdk.capture_exception(error))

    send(tell, **TALKATIVE, **LAYERS[layer])
    [event] = sink.events
    assert event["event_id"] == told[0]
    assert event["level"] == "error"
    assert event["tags"] == {"app": "acme"}
    assert "could not be searched for secrets" in event["message"]
    assert canaries.seen_in(sink.raw) == set()


@pytest.mark.parametrize("variable", ["SENTRY_SPOTLIGHT", "SENTRY_DEBUG"])
def test_no_variable_makes_the_sdk_show_events_to_others(
    send: Send,
    canaries: Canaries,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = SentrySink()
    url = other.dsn.replace("public@", "").removesuffix("/1") + "/stream"
    monkeypatch.setenv(variable, url if "SPOTLIGHT" in variable else "true")
    send(lambda: sentry_sdk.capture_message(f"it is {canaries.key}"))
    other.server.shutdown()
    assert other.raw == []
    assert [record for record in caplog.records if record.name.startswith("sentry_sdk")] == []
