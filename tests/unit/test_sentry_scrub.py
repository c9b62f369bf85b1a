"""What the SDK is about to send is without known secrets, or is not sent."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk.consts
from pydantic import SecretStr
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from config.scrub import MAX_DEPTH, MAX_VALUES, REDACTED
from config.secrets import known_secrets
from worker import sentry_scrub
from worker.sentry_scrub import HOOKS, OUR_TAGS, scrub_envelope, scrub_event

CANARY = "canary-4711/+x"
ID = "0123456789abcdef" * 2
TAGS = {"app": "acme", "job": "a-job", "other": "not ours"}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fresh = type(known_secrets)()
    fresh.learn([SecretStr(CANARY)])
    monkeypatch.setattr(sentry_scrub, "known_secrets", fresh)
    yield


def deep() -> Any:
    value: Any = CANARY
    for _ in range(MAX_DEPTH + 1):
        value = {"in": value}
    return value


class Strange:
    """Tells a secret however it is shown."""

    def __repr__(self) -> str:
        return CANARY


class Raising(dict[str, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError(CANARY)


UNSEARCHABLE: dict[str, Any] = {
    "it is too deep": deep(),
    "it is too large": [CANARY] * MAX_VALUES,
    "it is of an unknown kind": Strange(),
    "it is ValueError": 10**5_000,  # Python refuses to write it
}


def test_an_event_has_no_secret() -> None:
    event = {"event_id": ID, "level": "error", "exception": {"values": [{"value": f"<{CANARY}>"}]}}
    assert scrub_event(event) == {
        **event,
        "exception": {"values": [{"value": f"<{REDACTED}>"}]},
    }


@pytest.mark.parametrize("why", UNSEARCHABLE)
def test_an_event_that_cannot_be_searched_is_a_bare_one(why: str) -> None:
    event = {
        "event_id": ID,
        "level": "fatal",
        "message": CANARY,
        "tags": TAGS,
        "extra": {"is": UNSEARCHABLE[why]},
    }
    bare = scrub_event(event)
    assert bare.pop("timestamp")
    assert bare == {
        "event_id": ID,
        "level": "fatal",
        "platform": "python",
        "logger": "sentry",
        "message": f"An event that could not be searched for secrets was not sent: {why}.",
        "fingerprint": ["unsearchable"],
        "tags": {"app": "acme", "job": "a-job"},
    }


@pytest.mark.parametrize(
    "event", [None, "text", [CANARY], Strange(), {"event_id": CANARY, "level": CANARY, "x": deep()}]
)
def test_a_bare_event_is_whole_whatever_came(event: Any) -> None:
    bare = scrub_event(event)
    assert re.fullmatch("[0-9a-f]{32}", bare["event_id"])
    assert bare["level"] == "error"
    assert CANARY not in json.dumps(bare)


def test_a_bare_events_tags_are_texts_without_secrets() -> None:
    tags = {"app": CANARY, "job": Strange(), "code": "x" * 500, "status": "500", CANARY: "x"}
    assert scrub_event({"tags": tags, "extra": deep()})["tags"] == {
        "app": REDACTED,
        "status": "500",
    }
    assert scrub_event({"tags": [["app", CANARY]], "extra": deep()})["tags"] == {}
    assert {"app", "webhook", "job", "attempts", "account", "class", "code", "status"} == OUR_TAGS


def test_an_event_whose_id_is_a_secret_gets_another() -> None:
    known = sentry_scrub.known_secrets
    known.learn([SecretStr(ID)])
    assert re.fullmatch("[0-9a-f]{32}", scrub_event({"event_id": ID})["event_id"])
    assert scrub_event({"event_id": ID})["event_id"] != ID


def test_names_of_sentrys_format_stay_if_a_password_is_one() -> None:
    sentry_scrub.known_secrets.learn([SecretStr("exception")])
    event = {"exception": {"values": [{"type": "KeyError", "value": "exception"}]}}
    assert scrub_event(event) == {
        "exception": {"values": [{"type": "KeyError", "value": REDACTED}]}
    }


def test_each_hook_of_the_sdk_is_used() -> None:
    offered = {
        name
        for name in sentry_sdk.consts.DEFAULT_OPTIONS
        if name.startswith("before_") or name.endswith("_processor")
    }
    # Without `trace_lifecycle="stream"` it is never asked, and the SDK warns of it at each start.
    assert set(HOOKS) == offered - {"before_send_span"}


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_takes_secrets_out_and_sends_nothing_that_it_cannot_search(hook: str) -> None:
    clean = HOOKS[hook]({"name": CANARY, "attributes": {CANARY: "x"}}, {})
    assert clean == {"name": REDACTED, "attributes": {REDACTED: "x"}}
    for value in (*UNSEARCHABLE.values(), Raising()):
        left = HOOKS[hook]({"type": CANARY, "data": value}, {})
        assert CANARY not in repr(left)
    if hook == "before_send":
        assert HOOKS[hook]({"type": "check_in", "data": deep()}, {}) is None


def sent(*items: Item, **headers: Any) -> bytes:
    return scrub_envelope(Envelope(headers, list(items))).serialize()


def test_an_envelopes_items_have_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "attached"
    path.write_text(f"a line\n{CANARY}\n")
    body = sent(
        Item(PayloadRef(json={"event_id": ID, "message": CANARY}), type="event"),
        Item(PayloadRef(json={"items": [{"body": CANARY}]}), type="log", headers={"item_count": 1}),
        Item(PayloadRef(json={"monitor_slug": CANARY}), type="check_in"),
        Item(PayloadRef(json={CANARY: 1}), type="an item of the future"),
        Item(json.dumps({"a": CANARY}).encode(), type="attachment", filename=f"{CANARY}.json"),
        Item(PayloadRef(path=str(path)), type="attachment", filename="b.txt"),
        event_id=ID,
        trace={"transaction": CANARY},
    )
    assert CANARY.encode() not in body and b"canary" not in body
    assert body.count(REDACTED.encode()) == 8
    read = Envelope.deserialize(body)
    assert read.headers["event_id"] == ID
    assert [item.type for item in read.items][:4] == [
        *("event", "log", "check_in", "an item of the future")
    ]
    assert read.items[1].headers["item_count"] == 1


@pytest.mark.parametrize(
    "payload",
    [
        gzip.compress(CANARY.encode(), mtime=0),
        CANARY.encode("utf-16-le"),
        PayloadRef(json=deep()),
        PayloadRef(json={"x": Strange()}),
        PayloadRef(bytes=b"x" * 2**21),
    ],
    ids=["compressed", "in UTF-16", "deep", "strange", "large"],
)
def test_an_item_that_cannot_be_searched_is_left_out(payload: Any) -> None:
    kept = Item(PayloadRef(json={"event_id": ID}), type="event")
    envelope = scrub_envelope(Envelope({}, [Item(payload, type="attachment"), kept]))
    assert [item.type for item in envelope.items] == ["event"]


def test_an_event_that_cannot_be_searched_is_a_bare_one_in_its_envelope() -> None:
    for payload in (PayloadRef(json={"event_id": ID, "x": deep()}), PayloadRef(bytes=b"{}")):
        [item] = scrub_envelope(Envelope({}, [Item(payload, type="event")])).items
        assert "could not be searched" in item.get_event()["message"]


def test_headers_that_cannot_be_searched_are_left_out() -> None:
    assert scrub_envelope(Envelope({"trace": Strange()}, [])).headers == {}
