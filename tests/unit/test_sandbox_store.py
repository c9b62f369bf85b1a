"""The sandbox's store, apps and limits, without HTTP."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from worker.sandbox.answers import ApiError
from worker.sandbox.apps import AppRegistry
from worker.sandbox.limits import DEFAULTS, checked_create, checked_update
from worker.sandbox.routes import UNKNOWN, Route, route
from worker.sandbox.store import Duplicate, Namespace, Store
from worker.sandbox.triggers import known_triggers

V2: Namespace = ("app1", 2)
LEGACY: Namespace = ("app1", "legacy")
GOOD = {"id": "hook1", "name": "A webhook", "webhookURL": "https://example.com/hook"}


def fields(webhook_id: str = "hook1", **others: Any) -> dict[str, Any]:
    return checked_create({**GOOD, "id": webhook_id, **others})


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_created_webhook_shows_its_instants_and_no_credentials() -> None:
    store = Store(clock=Clock())
    shown = store.create(V2, fields(useBasicAuth=True, username="u", password="p")).public()
    assert shown == {**GOOD, "enabled": True, "createdAt": 1700000000, "updatedAt": 1700000000}


def test_an_update_changes_what_it_names_and_the_instant() -> None:
    clock = Clock()
    store = Store(clock=clock)
    store.create(V2, fields())
    clock.now += 60
    changed = store.update(V2, "hook1", {"name": "Another"})
    assert changed.public() == {
        **GOOD,
        "name": "Another",
        "enabled": True,
        "createdAt": 1700000000,
        "updatedAt": 1700000060,
    }


def test_versions_and_apps_do_not_see_each_other() -> None:
    store = Store()
    for namespace in (V2, LEGACY, ("app2", 2)):
        store.create(namespace, fields())
    store.delete(LEGACY, "hook1")
    assert [webhook.id for webhook in store.of(V2)] == ["hook1"]
    with pytest.raises(ApiError) as missing:
        store.get(LEGACY, "hook1")
    assert (missing.value.status, missing.value.code) == (404, "ERR_WEBHOOK_NOT_FOUND")


def test_each_version_of_an_app_holds_25_webhooks() -> None:
    store = Store()
    for number in range(25):
        store.create(V2, fields(f"hook{number}"))
    with pytest.raises(ApiError) as full:
        store.create(V2, fields("hook25"))
    assert (full.value.status, full.value.code) == (400, "ERR_PLAN_QUOTA_RESTRICTION")
    store.create(LEGACY, fields("hook25"))


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ERR_BAD_REQUEST"), (409, "ERR_WEBHOOK_ALREADY_EXISTS"), (422, "ERR_BAD_REQUEST")],
)
def test_an_id_that_is_taken_is_refused(status: Duplicate, code: str) -> None:
    store = Store(duplicate=status)
    store.create(V2, fields())
    with pytest.raises(ApiError) as taken:
        store.create(V2, fields(name="Another"))
    assert (taken.value.status, taken.value.code) == (status, code)
    assert (taken.value.details is None) == (status == 409)
    assert store.get(V2, "hook1").fields["name"] == "A webhook"


def test_the_state_counts_creates_and_hides_passwords() -> None:
    store = Store()
    store.put(V2, fields("theirs"))
    store.create(V2, fields("ours", password="hunter2"))
    store.delete(V2, "ours")
    store.create(V2, fields("ours", password="hunter2"))
    theirs, ours = store.state()
    assert (theirs["created_by_calls"], ours["created_by_calls"]) == (0, 2)
    assert theirs["password_sha256"] is None
    assert ours["password_sha256"] == hashlib.sha256(b"hunter2").hexdigest()
    assert "hunter2" not in str(ours)
    assert (ours["app_id"], ours["version"]) == V2


def test_every_app_exists_but_those_removed() -> None:
    apps = AppRegistry()
    apps.remove("gone")
    assert (apps.exists("any"), apps.exists("gone")) == (True, False)
    apps.add("gone")
    assert apps.exists("gone")


def test_a_list_of_apps_restricts() -> None:
    apps = AppRegistry(["one"])
    assert (apps.exists("one"), apps.exists("two")) == (True, False)
    apps.add("two")
    assert apps.exists("two")


@pytest.mark.parametrize("listed", [None, ["one"]])
def test_an_app_appears_after_a_while(listed: list[str] | None) -> None:
    clock = Clock()
    apps = AppRegistry(listed, appears_after=5, clock=clock)
    assert not apps.exists("one")
    clock.now += 4.9
    assert not apps.exists("one")
    clock.now += 0.2
    assert apps.exists("one")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "i" * 50),
        ("id", "test_webhook-201"),
        ("name", "n" * 50),
        ("name", "Ein Häkchen"),
        ("webhookURL", "https://example.com/" + "u" * 235),
        ("webhookURL", "https://example.com:8443?a=b"),
        ("username", "u" * 50),
        ("password", "p" * 100),
        ("enabled", False),
        ("retryOnFailure", True),
    ],
)
def test_the_widest_values_pass(field: str, value: Any) -> None:
    assert checked_create({**GOOD, field: value}) == {**DEFAULTS, **GOOD, field: value}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "i" * 51),
        ("id", "has space"),
        ("id", ""),
        ("id", None),
        ("id", 7),
        ("name", "n" * 51),
        ("name", "  "),
        ("webhookURL", "https://example.com/" + "u" * 236),
        ("webhookURL", "http://example.com/"),
        ("webhookURL", "https:///path"),
        ("webhookURL", "https://exa mple.com/"),
        ("webhookURL", "https://example.com:99999/"),
        ("username", "u" * 51),
        ("username", "a.b"),
        ("password", "p" * 101),
        ("password", "with space"),
        ("useBasicAuth", "yes"),
        ("enabled", None),
        ("retryOnFailure", 1),
    ],
)
def test_what_breaks_a_limit_is_told_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(ApiError) as refused:
        checked_create({**GOOD, field: value})
    assert (refused.value.status, refused.value.code) == (400, "ERR_BAD_REQUEST")
    assert refused.value.details is not None
    assert list(refused.value.details) == [field]


@pytest.mark.parametrize(
    ("body", "complaints"),
    [
        ({}, {"id", "name", "webhookURL"}),
        (None, {"body"}),
        ([GOOD], {"body"}),
        ({**GOOD, "useBasicAuth": True}, {"username", "password"}),
        ({**GOOD, "useBasicAuth": True, "username": "u"}, {"password"}),
    ],
)
def test_a_body_must_be_whole(body: Any, complaints: set[str]) -> None:
    with pytest.raises(ApiError) as refused:
        checked_create(body)
    assert set(refused.value.details or ()) == complaints


def test_an_update_needs_nothing_and_keeps_the_id() -> None:
    assert checked_update({}, fields()) == {}
    assert checked_update({"id": "other", "enabled": False}, fields()) == {"enabled": False}


def test_an_update_may_use_credentials_that_are_there() -> None:
    current = fields(username="u", password="p")
    assert checked_update({"useBasicAuth": True}, current) == {"useBasicAuth": True}
    with pytest.raises(ApiError):
        checked_update({"useBasicAuth": True}, fields())


def test_each_version_has_its_own_triggers() -> None:
    assert "message_sent" in known_triggers(2)
    assert "message_sent" not in known_triggers("legacy")
    assert "user_connection_status_changed" in known_triggers(2)
    assert "user_connection_status_change" in known_triggers("legacy")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/apps/a/webhooks", Route("create", "a")),
        ("GET", "/apps/a%2Fb/webhooks", Route("list", "a/b")),
        ("GET", "/apps/a/webhooks/w", Route("get", "a", "w")),
        ("PUT", "/apps/a/webhooks/w%20x", Route("update", "a", "w x")),
        ("DELETE", "/apps/a/webhooks/w", Route("delete", "a", "w")),
        ("POST", "/apps/a/webhooks/w/triggers", Route("add_triggers", "a", "w")),
        ("GET", "/apps/a/webhooks/w/triggers", Route("list_triggers", "a", "w")),
        ("DELETE", "/apps/a/webhooks/w/triggers", Route("remove_triggers", "a", "w")),
        ("PATCH", "/apps/a/webhooks", UNKNOWN),
        ("GET", "/apps//webhooks", UNKNOWN),
        ("GET", "/apps/a/webhooks/", UNKNOWN),
        ("GET", "/apps/a/webhooks/w/trigger", UNKNOWN),
        ("GET", "/v3/apps/a/webhooks", UNKNOWN),
        ("GET", "/", UNKNOWN),
    ],
)
def test_a_method_and_a_path_mean_an_operation(method: str, path: str, expected: Route) -> None:
    assert route(method, path) == expected
