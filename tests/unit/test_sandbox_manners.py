"""How the sandbox plays what no documentation says, without HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.sandbox.answers import Answer, ApiError
from worker.sandbox.apps import AppRegistry
from worker.sandbox.limits import checked_create
from worker.sandbox.manners import Duplicate, Manners
from worker.sandbox.operations import Call, Operations
from worker.sandbox.routes import route
from worker.sandbox.settings import CHANGEABLE, Settings, parse_manners
from worker.sandbox.store import Namespace, Store

V2: Namespace = ("app1", 2)
LEGACY: Namespace = ("app1", "legacy")
GOOD = {
    "id": "Hook1",
    "name": " A  web\u0301hook \U0001f389",
    "webhookURL": "https://A.example:443/h/",
}
TIDY = Manners(tidies=("id", "name", "emoji", "webhookURL"))


def store(**manners: Any) -> Store:
    return Store(clock=lambda: 1_700_000_000.0, manners=Manners(**manners))


def ask(of: Store, method: str, path: str, payload: Any = None, apps: Any = None) -> Answer:
    operations = Operations(of, AppRegistry(apps), frozenset({("key", "secret")}))
    call = Call(route(method, path), method, path, "", "key", "secret", "2", payload)
    return operations.perform(call, "object")


@pytest.mark.parametrize("status", [400, 403, 409, 417, 422])
@pytest.mark.parametrize("code", ["ERR_WEBHOOK_ALREADY_EXISTS", "ERR_FORBIDDEN", "", None])
def test_an_id_that_is_taken_is_refused_with_any_code(status: Duplicate, code: str | None) -> None:
    of = Store(status, manners=Manners(duplicate_code=code))
    of.create(V2, checked_create(GOOD))
    with pytest.raises(ApiError) as taken:
        of.create(V2, checked_create(GOOD))
    usual = "ERR_WEBHOOK_ALREADY_EXISTS" if status == 409 else "ERR_BAD_REQUEST"
    assert (taken.value.status, taken.value.code) == (
        status,
        usual if code is None else code or None,
    )


def test_a_tidy_one_stores_what_it_makes_of_a_webhook_and_finds_it_by_any_case() -> None:
    of = Store(manners=TIDY)
    of.create(V2, checked_create(GOOD))
    fields = of.get(V2, "HOOK1").fields
    assert fields["id"] == "hook1"
    assert fields["name"] == "A web\u0301hook ?"
    assert fields["webhookURL"] == "https://a.example/h"
    with pytest.raises(ApiError):
        of.create(V2, checked_create({**GOOD, "id": "HOOK1"}))
    assert of.update(V2, "hOOK1", {"name": "B "}).fields["name"] == "B"
    of.delete(V2, "HOOK1")
    assert of.of(V2) == []


@pytest.mark.parametrize(("update", "enabled"), [("merges", False), ("replaces", True)])
def test_an_update_keeps_what_it_does_not_name_or_replaces_it(update: Any, enabled: bool) -> None:
    of = store(update=update)
    of.create(V2, checked_create({**GOOD, "enabled": False}))
    fields = of.update(V2, "Hook1", {"retryOnFailure": True}).fields
    assert (fields["enabled"], fields["retryOnFailure"]) == (enabled, True)
    assert (fields["name"], fields["webhookURL"]) == (GOOD["name"], GOOD["webhookURL"])


def test_an_update_may_be_taken_and_not_carried_out() -> None:
    of = store(ignores=("name",))
    of.create(V2, checked_create(GOOD))
    fields = of.update(V2, "Hook1", {"name": "B", "enabled": False}).fields
    assert (fields["name"], fields["enabled"]) == (GOOD["name"], False)


def test_answers_may_be_bare_or_have_iso_instants() -> None:
    shown = {
        shows: json.loads(ask(store(shows=shows), "POST", "/apps/a/webhooks", GOOD).body)["data"]
        for shows in ("all", "bare", "iso")
    }
    assert shown["bare"] == GOOD
    assert shown["all"] == {
        **GOOD,
        "enabled": True,
        "createdAt": 1700000000,
        "updatedAt": 1700000000,
    }
    assert shown["iso"]["updatedAt"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("status", "code"), [(404, "ERR_APP_NOT_FOUND"), (401, "AUTH_ERR_INVALID_APPID")]
)
def test_an_unknown_app_is_404_or_401(status: int, code: str) -> None:
    answer = ask(store(unknown_app=status), "GET", "/apps/a/webhooks", apps=["b"])
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


def test_a_plan_may_not_have_all_triggers() -> None:
    of = store(plan_triggers=("message_sent",))
    ask(of, "POST", "/apps/a/webhooks", GOOD)
    path = "/apps/a/webhooks/Hook1/triggers"
    refused = ask(of, "POST", path, {"triggerIds": ["message_sent", "call_ended"]})
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (
        402,
        "ERR_PLAN_RESTRICTION",
    )
    assert of.get(("a", 2), "Hook1").triggers == []
    assert ask(of, "POST", path, {"triggerIds": ["message_sent"]}).status == 200


def test_legacy_and_new_webhooks_may_exclude_each_other() -> None:
    of = store(exclusive_versions=True)
    of.create(LEGACY, checked_create(GOOD))
    with pytest.raises(ApiError, match="Failed to validate") as refused:
        of.create(V2, checked_create(GOOD))
    assert refused.value.status == 400
    of.create(("app2", 2), checked_create(GOOD))
    of.delete(LEGACY, "Hook1")
    of.create(V2, checked_create(GOOD))


def test_manners_are_settings_that_change_and_an_option() -> None:
    assert set(Manners.model_fields) <= CHANGEABLE
    settings = Settings(**parse_manners('{"tidies": ["name"], "update": "replaces"}'))
    assert settings.manners == Manners(tidies=("name",), update="replaces")
    assert settings.changed({"shows": "bare"}).manners.shows == "bare"
    assert parse_manners("") == {}
    for wrong in ('{"tidies": ["all"]}', '{"no": 1}', "[]", "{"):
        with pytest.raises(ValueError):
            parse_manners(wrong)
