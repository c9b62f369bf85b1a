"""`ensure` and what it decides, over an API that is a dictionary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from config.sealing_keys import new_pair
from tasks.ensure import ensure
from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    PasswordUnreadable,
    PlanLimit,
    RateLimited,
    WebhookConflict,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.record import JobRecord
from tasks.sealing import Sealer
from tasks.turn import Held
from tasks.webhook import Webhook
from tests.sealed import with_password

WEBHOOK = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
}
AS_ASKED = {**WEBHOOK, "createdAt": 1700000000}
OTHER_NAME = {**AS_ASKED, "name": "Invoices"}
OTHER_URL = {**AS_ASKED, "webhookURL": "https://other.example.com/"}

JOB = JobRecord(
    id="some-job",
    state="STARTED",
    account="default",
    app_id="shop",
    webhook=WEBHOOK,
    webhook_version=2,
    created_at=1000.0,
    attempt=1,
    attempts=1,
    first_attempt_at=1000.0,
    started_at=1000.0,
)
UNKNOWN = replace(JOB, outcome_unknown=True, attempt=2, attempts=2)

KEY = new_pair()[1]
PASSWORD = SecretStr("hunter2hunter2")


Answer = Exception | dict[str, Any]


class ScriptedApi:
    """Answers creates and reads as it was told, and notes what was asked."""

    def __init__(self, *, create: Answer = WEBHOOK, get: Answer | None = None) -> None:
        self.answers = {"create": create, "get": get or WebhookNotFound("none")}
        self.calls: list[str] = []
        self.sent: list[Webhook] = []

    def create_webhook(self, app_id: str, webhook: Webhook, *, version: int | None) -> Any:
        assert (app_id, webhook.id, version) == ("shop", "orders", 2)
        self.sent.append(webhook)
        return self._answer("create")

    def get_webhook(self, app_id: str, webhook_id: str, *, version: int | None) -> Any:
        assert (app_id, webhook_id, version) == ("shop", "orders", 2)
        return self._answer("get")

    def _answer(self, operation: str) -> Any:
        self.calls.append(operation)
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def rejected(status: int) -> WebhookRejected:
    return WebhookRejected("no", status=status, code="ERR_BAD_REQUEST")


def refused(status: int, code: str | None) -> AccountRejected:
    return AccountRejected("no", status=status, code=code)


@pytest.fixture(autouse=True, scope="module")
def surroundings() -> Iterator[None]:
    """The defaults, whatever the environment says."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tasks.passwords.get_sealer", lambda: Sealer(private=[KEY]))
        yield


DECISIONS = [
    # the job, what a create and a read answer; then the outcome and the calls that were made
    (JOB, WEBHOOK, None, "created", "create"),
    (JOB, ApiUnavailable("away", outcome_unknown=True), AS_ASKED, ApiUnavailable, "create"),
    (JOB, RateLimited("slow"), AS_ASKED, RateLimited, "create"),
    (JOB, AccountRejected("who"), AS_ASKED, AccountRejected, "create"),
    (JOB, AppNotFound("where", status=404), AS_ASKED, AppNotFound, "create"),
    (JOB, PlanLimit("full", status=400), None, PlanLimit, None),
    (UNKNOWN, WEBHOOK, AS_ASKED, "existed", "get"),
    (UNKNOWN, WEBHOOK, None, "created", "get create"),
    (UNKNOWN, WEBHOOK, OTHER_NAME, WebhookConflict, "get"),
    (UNKNOWN, WEBHOOK, OTHER_URL, WebhookConflict, "get"),
    (UNKNOWN, WEBHOOK, ApiUnavailable("away", outcome_unknown=True), ApiUnavailable, "get"),
    (UNKNOWN, WEBHOOK, RateLimited("slow"), RateLimited, "get"),
    (UNKNOWN, PlanLimit("full", status=400), None, PlanLimit, None),
    # A full app may be full of this webhook too: an earlier call took effect late.
    (JOB, PlanLimit("full", status=400), AS_ASKED, "existed", "create get"),
    (UNKNOWN, rejected(422), None, WebhookRejected, "get create get"),
    *[
        (JOB, rejected(status), *then)
        for status in (400, 404, 405, 409, 413, 417, 422)
        for then in [
            (AS_ASKED, "existed", "create get"),
            (None, WebhookRejected, "create get"),
            (OTHER_URL, WebhookConflict, "create get"),
            (ApiUnavailable("away", outcome_unknown=True), ApiUnavailable, "create get"),
        ]
    ],
    # So do 403 without a code that says something else; 401 and codes of credentials do not.
    *[
        (JOB, refused(403, code), *then)
        for code in (None, "ERR_FORBIDDEN")
        for then in [
            (AS_ASKED, "existed", "create get"),
            (OTHER_URL, WebhookConflict, "create get"),
            (None, AccountRejected, "create get"),
            (Held(), AccountRejected, "create get"),
        ]
    ],
    (JOB, refused(403, "AUTH_ERR_NO_ACCESS"), AS_ASKED, AccountRejected, "create"),
    (JOB, refused(403, "ERR_SUBSCRIPTION_EXPIRED"), AS_ASKED, AccountRejected, "create"),
    (JOB, refused(401, None), AS_ASKED, AccountRejected, "create"),
]


@pytest.mark.parametrize(("job", "create", "get", "outcome", "calls"), DECISIONS)
def test_the_table(
    job: JobRecord,
    create: Answer,
    get: Answer | None,
    outcome: str | type[ApiFailure],
    calls: str | None,
) -> None:
    api = ScriptedApi(create=create, get=get)
    if isinstance(outcome, str):
        assert ensure(api, job) == {
            **(WEBHOOK if outcome == "created" else AS_ASKED),
            "outcome": outcome,
        }
    else:
        with pytest.raises(outcome) as caught:
            ensure(api, job)
        assert type(caught.value) is outcome
        # Only a create leaves something behind to be unsure of.
        assert caught.value.outcome_unknown is (
            outcome is ApiUnavailable and api.calls[-1] == "create"
        )
    if calls is not None:
        assert api.calls == calls.split()


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (OTHER_NAME, "another name;"),
        (OTHER_URL, "another webhookURL;"),
        ({**OTHER_NAME, **OTHER_URL, "name": "Invoices"}, "another name and webhookURL;"),
    ],
)
def test_a_conflict_names_what_differs_but_not_its_values(
    found: dict[str, Any], named: str
) -> None:
    with pytest.raises(WebhookConflict, match=named) as caught:
        ensure(ScriptedApi(get=found), UNKNOWN)
    assert "'orders'" in str(caught.value)
    assert "'shop'" in str(caught.value)
    assert found["webhookURL"] not in str(caught.value)


@pytest.mark.parametrize("missing", ["name", "webhookURL"])
def test_what_the_api_leaves_out_is_no_conflict(missing: str) -> None:
    found = {name: value for name, value in AS_ASKED.items() if name != missing}
    with pytest.raises(ApiUnavailable):
        ensure(ScriptedApi(get=found), UNKNOWN)


class TestPassword:
    JOB = with_password(JOB, PASSWORD, KEY, useBasicAuth=True, username="chat")

    def test_is_opened_for_the_call_alone(self) -> None:
        api = ScriptedApi()
        result = ensure(api, self.JOB)
        [sent] = api.sent
        assert sent.password == PASSWORD
        assert sent.wire() == self.JOB.webhook
        secret = PASSWORD.get_secret_value()
        assert secret not in json.dumps(result) + repr(sent) + repr(self.JOB)

    def test_that_does_not_open_ends_the_job_before_any_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign = new_pair()[1]
        for keys, told in [((), "needs SEALING_PUBLIC"), ((foreign,), "none of SEALING_PRIVATE")]:
            sealer = Sealer(private=keys)
            monkeypatch.setattr("tasks.passwords.get_sealer", lambda sealer=sealer: sealer)
            api = ScriptedApi()
            with pytest.raises(PasswordUnreadable, match=told) as caught:
                ensure(api, self.JOB)
            assert not caught.value.transient
            assert caught.value.__context__ is None
            assert api.calls == []

    def test_that_does_not_open_is_no_reason_to_say_that_nothing_was_created(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tasks.passwords.get_sealer", lambda: Sealer())
        unknown = replace(self.JOB, outcome_unknown=True)
        assert ensure(ScriptedApi(get=AS_ASKED), unknown)["outcome"] == "existed"
