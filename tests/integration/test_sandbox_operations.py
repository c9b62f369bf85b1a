"""The sandbox's eight operations over HTTP, in both versions, and its refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import worker.sandbox
from worker.sandbox import RunningSandbox, running_sandbox
from worker.sandbox.answers import SHAPES, wrap

CREDENTIALS = {"key": "test-key", "secret": "test-secret"}
VERSIONS = [{"X-Webhook-Version": "2"}, {}]
GOOD: dict[str, Any] = {
    "id": "hook1",
    "name": "A webhook",
    "webhookURL": "https://example.com/hook",
}


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSandbox]:
    environment = {"SANDBOX_KEY": "test-key", "SANDBOX_SECRET": "test-secret"}
    with running_sandbox(environment=environment) as running:
        yield running


@pytest.fixture
def sandbox(process: RunningSandbox) -> RunningSandbox:
    process.control.reset()
    return process


class Api:
    """A client of one app's webhooks in one version."""

    def __init__(self, sandbox: RunningSandbox, version: dict[str, str], app: str = "app1") -> None:
        self.url = f"{sandbox.base_url}/apps/{app}/webhooks"
        self.headers = {**CREDENTIALS, **version}

    def __call__(
        self, method: str, path: str = "", body: Any = None, **headers: str | None
    ) -> requests.Response:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(
            method, self.url + path, json=body, headers={**self.headers, **own}, timeout=5
        )


@pytest.fixture(params=VERSIONS, ids=["v2", "legacy"])
def api(sandbox: RunningSandbox, request: pytest.FixtureRequest) -> Api:
    return Api(sandbox, request.param)


def data(response: requests.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["data"]


def refusal(response: requests.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["source"] == "management-api"
    assert error["message"]
    return response.status_code, error["code"]


def test_a_webhook_lives_through_all_operations(api: Api) -> None:
    created = data(api("POST", body={**GOOD, "password": "pw", "username": "u"}))
    assert set(created) == {"id", "name", "webhookURL", "enabled", "createdAt", "updatedAt"}
    assert data(api("GET", "/hook1")) == created
    changed = data(api("PUT", "/hook1", {"name": "Another", "enabled": False}))
    assert (changed["name"], changed["enabled"]) == ("Another", False)
    assert [each["id"] for each in data(api("GET"))] == ["hook1"]
    assert data(api("DELETE", "/hook1")) == {
        "success": True,
        "message": "Deleted Webhook successfully.",
    }
    for method in ("GET", "PUT", "DELETE"):
        assert refusal(api(method, "/hook1", {})) == (404, "ERR_WEBHOOK_NOT_FOUND")


def test_triggers_are_added_listed_and_removed(api: Api) -> None:
    api("POST", body=GOOD)
    added = data(api("POST", "/hook1/triggers", {"triggerIds": ["message_read_receipt", "nope"]}))
    assert added["message_read_receipt"]["success"] is True
    assert added["nope"]["error"]["code"] == "ERR_TRIGGER_NOT_FOUND"
    listed = api("GET", "/hook1/triggers").json()
    assert [each["id"] for each in listed["data"]] == ["message_read_receipt"]
    assert listed["meta"]["pagination"]["total"] == 1
    body = {"triggerIds": ["message_read_receipt"]}
    assert data(api("DELETE", "/hook1/triggers", body))["success"] is True
    assert data(api("GET", "/hook1/triggers")) == []
    assert refusal(api("DELETE", "/hook1/triggers", {"triggerIds": ["nope"]})) == (
        404,
        "ERR_TRIGGER_NOT_FOUND",
    )
    for bad in (None, {"triggerIds": []}, {"triggerIds": "message_read_receipt"}):
        assert refusal(api("POST", "/hook1/triggers", bad)) == (400, "ERR_BAD_REQUEST")


def test_versions_are_namespaces_of_their_own(sandbox: RunningSandbox) -> None:
    v2, legacy = (Api(sandbox, version) for version in VERSIONS)
    data(v2("POST", body=GOOD))
    assert refusal(legacy("GET", "/hook1")) == (404, "ERR_WEBHOOK_NOT_FOUND")
    data(legacy("POST", body=GOOD))
    versions = [each["version"] for each in sandbox.control.webhooks()]
    assert versions == [2, "legacy"]
    assert refusal(v2("GET", X_Webhook_Version="3")) == (400, "ERR_BAD_REQUEST")


def test_the_list_pages_and_searches_names(api: Api) -> None:
    for number in range(3):
        api("POST", body={**GOOD, "id": f"hook{number}", "name": f"Name {number}"})
    page = api("GET", "?perPage=2").json()
    assert [each["id"] for each in page["data"]] == ["hook0", "hook1"]
    assert page["meta"]["pagination"] == {
        "total": 3,
        "count": 2,
        "per_page": 2,
        "current_page": 1,
        "total_pages": 2,
    }
    assert [each["id"] for each in data(api("GET", "?searchKey=name%202"))] == ["hook2"]
    assert refusal(api("GET", "?perPage=1001")) == (400, "ERR_BAD_REQUEST")


def test_the_26th_webhook_is_refused(api: Api) -> None:
    for number in range(25):
        data(api("POST", body={**GOOD, "id": f"hook{number}"}))
    assert refusal(api("POST", body={**GOOD, "id": "hook25"})) == (
        400,
        "ERR_PLAN_QUOTA_RESTRICTION",
    )


@pytest.mark.parametrize(
    ("duplicate", "code"),
    [(400, "ERR_BAD_REQUEST"), (409, "ERR_WEBHOOK_ALREADY_EXISTS"), (422, "ERR_BAD_REQUEST")],
)
def test_an_id_that_is_taken(sandbox: RunningSandbox, duplicate: int, code: str) -> None:
    sandbox.control.settings(duplicate=duplicate)
    api = Api(sandbox, {})
    api("POST", body=GOOD)
    refused = api("POST", body=GOOD)
    assert refusal(refused) == (duplicate, code)
    details = refused.json()["error"].get("details")
    assert details == (None if duplicate == 409 else {"id": ["The id has already been taken."]})


def test_limits_are_told_field_by_field(api: Api) -> None:
    refused = api("POST", body={"id": "a b", "name": "n" * 51, "useBasicAuth": True})
    assert refusal(refused) == (400, "ERR_BAD_REQUEST")
    details = refused.json()["error"]["details"]
    assert set(details) == {"id", "name", "webhookURL", "username", "password"}
    assert all(isinstance(complaint, str) for each in details.values() for complaint in each)
    not_json = requests.post(api.url, data="{", headers=api.headers, timeout=5)
    assert refusal(not_json) == (400, "ERR_BAD_REQUEST")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"key": None}, "AUTH_ERR_EMPTY_AUTH_HEADER"),
        ({"secret": None}, "AUTH_ERR_EMPTY_AUTH_HEADER"),
        ({"key": "wrong"}, "AUTH_ERR_INVALID_SECRET_KEY"),
        ({"secret": "wrong"}, "AUTH_ERR_INVALID_SECRET_KEY"),
    ],
)
def test_credentials_are_needed(api: Api, headers: dict[str, str | None], code: str) -> None:
    assert refusal(api("POST", body=GOOD, **headers)) == (401, code)


def test_apps_can_be_taken_away_and_appear_late(sandbox: RunningSandbox) -> None:
    api = Api(sandbox, {})
    sandbox.control.remove_apps("app1")
    assert refusal(api("POST", body=GOOD)) == (404, "ERR_APP_NOT_FOUND")
    sandbox.control.add_apps("app1", after_seconds=60)
    assert refusal(api("POST", body=GOOD)) == (404, "ERR_APP_NOT_FOUND")
    sandbox.control.add_apps("app1")
    data(api("POST", body=GOOD))


@pytest.mark.parametrize(("method", "path"), [("PATCH", ""), ("GET", "/hook1/nope"), ("PUT", "")])
def test_an_unknown_path_or_method(api: Api, method: str, path: str) -> None:
    assert refusal(api(method, path, {})) == (404, "ERR_API_NOT_FOUND")


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_come_in_every_documented_shape(sandbox: RunningSandbox, shape: Any) -> None:
    api = Api(sandbox, {})
    for method, path, body in (("POST", "", GOOD), ("GET", "/hook1", None), ("PUT", "/hook1", {})):
        sandbox.control.settings(shape=shape)
        told = api(method, path, body).json()
        sandbox.control.settings(shape="object")
        assert told == wrap(data(api("GET", "/hook1")), shape)


def test_a_create_agrees_with_the_openapi_document(sandbox: RunningSandbox) -> None:
    path = Path(worker.sandbox.__file__).with_name("create-webhook.openapi.json")
    document = json.loads(path.read_text())
    ((template, operations),) = document["paths"].items()
    create = operations["post"]
    asked = create["requestBody"]["content"]["application/json"]["schema"]
    headers = {
        each["name"]: each["required"]
        for each in document["components"]["parameters"].values()
        if each["in"] == "header"
    }
    assert headers == {"key": True, "secret": True, "X-Webhook-Version": False}

    url = sandbox.base_url + re.sub(r"\{appId\}", "app1", template)
    values = {"boolean": True, "string": "Value1"}
    full = {name: values[each["type"]] for name, each in asked["properties"].items()}
    full["webhookURL"] = GOOD["webhookURL"]
    sent = {**CREDENTIALS, "X-Webhook-Version": "2"}

    for name, required in headers.items():
        without = {each: value for each, value in sent.items() if each != name}
        status = requests.post(url, json={}, headers=without, timeout=5).status_code
        assert status == (401 if required else 400), name
    for name in asked["properties"]:
        partial = {each: value for each, value in full.items() if each != name}
        if name in ("username", "password"):
            partial["useBasicAuth"] = False
        status = requests.post(url, json=partial, headers=sent, timeout=5).status_code
        assert status == (400 if name in asked["required"] else 200), name
        sandbox.control.reset()

    # The schema wraps the webhook in an empty key; the example of the same answer is a list.
    answer = create["responses"]["200"]["content"]["application/json"]
    assert set(answer["schema"]["properties"]["data"]["properties"]) == {""}
    sandbox.control.settings(shape="empty_key")
    webhook = data(requests.post(url, json=full, headers=sent, timeout=5))[""]
    types = {"string": str, "boolean": bool}
    for name, schema in document["components"]["schemas"]["webhookSchema"]["properties"].items():
        assert isinstance(webhook[name], types[schema["type"]]), name
    sandbox.control.settings(shape="list")
    full["id"] = "Value2"
    (listed,) = requests.post(url, json=full, headers=sent, timeout=5).json()
    (example,) = answer["example"]
    assert {name: type(value) for name, value in example["data"].items()}.items() <= {
        name: type(value) for name, value in listed["data"].items()
    }.items()
