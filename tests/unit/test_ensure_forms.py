"""`ensure` over an API that shows what nobody would make of a name: what tells its own webhook."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.attempt import attempt_entry
from tasks.ensure import ensure
from tasks.errors import ApiFailure, ApiUnavailable, WebhookConflict, WebhookNotFound
from tasks.more import More
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.webhook import Webhook

ASKED = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
}
ODD = {**ASKED, "name": "acme-17"}
JOB = JobRecord("some-job", "STARTED", "default", "shop", ASKED, 2, created_at=0.0)
WITH_TRIGGERS = More(triggers=("message_sent",))


class OddApi:
    """Stores a webhook as `makes` says, and answers a create by `echo` of what it stores.

    `fails` has the operations that fail, once each.
    """

    def __init__(
        self,
        *fails: str,
        makes: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _: ODD,
        echo: Mapping[str, Any] | None = None,
    ) -> None:
        self.there: dict[str, Any] | None = None
        self.calls: list[str] = []
        self._makes, self._echo, self._fails = makes, echo, list(fails)

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self._fails:
            self._fails.remove(operation)
            raise ApiUnavailable("away", status=503, outcome_unknown=True)

    def create_webhook(self, app_id: str, webhook: Webhook, *, version: int | None) -> Any:
        self._called("create")
        self.there = self._makes(webhook.wire())
        return dict(self._echo or self.there or {})

    def get_webhook(self, app_id: str, webhook_id: str, *, version: int | None) -> Any:
        self._called("get")
        if self.there is None:
            raise WebhookNotFound("none", status=404)
        return dict(self.there)

    def update_webhook(self, app_id: str, webhook_id: str, changes: Any, *, version: Any) -> Any:
        self._called("update")
        return dict(self.there or {})

    def add_triggers(self, app_id: str, webhook_id: str, ids: Any, *, version: Any) -> Any:
        self._called("add")
        return dict.fromkeys(ids, True)

    def list_triggers(self, app_id: str, webhook_id: str, *, version: int | None) -> list[str]:
        self._called("list")
        return []


def run(api: OddApi, job: JobRecord) -> dict[str, Any]:
    """Attempt after attempt, with the history that the record has."""
    for _ in range(9):
        progress = Progress()
        try:
            return ensure(api, job, progress=progress)  # type: ignore[arg-type]
        except ApiUnavailable as failure:
            entry = attempt_entry(job, "ApiUnavailable", 0.0, progress=progress)
            job = replace(
                job,
                outcome_unknown=job.outcome_unknown or failure.outcome_unknown,
                history=(*copy.deepcopy(job.history), entry)[-20:],
            )
    raise AssertionError("the job never ends")


def test_what_an_answer_shows_is_what_is_there() -> None:
    api = OddApi()
    assert run(api, JOB) == {**ODD, "outcome": "created", "differs": ["name"]}
    assert api.calls == ["create", "get"]


@pytest.mark.parametrize("on_existing", ["accept", "update", "fail"])
@pytest.mark.parametrize("fails", [("get",), ("add",), ("get", "add"), ("add", "get", "list")])
def test_what_the_api_showed_of_it_is_the_jobs_own_in_later_attempts(
    fails: tuple[str, ...], on_existing: Any
) -> None:
    api = OddApi(*fails)
    result = run(api, replace(JOB, more=replace(WITH_TRIGGERS, on_existing=on_existing)))
    assert result == {
        **ODD,
        "outcome": "existed",
        "differs": ["name"],
        "triggers": ["message_sent"],
    }
    assert api.calls.count("create") == 1
    assert "update" not in api.calls


def test_it_is_known_however_many_attempts_have_failed_since() -> None:
    mark = {"outcome": "ApiUnavailable"}
    progress = Progress()
    with pytest.raises(ApiUnavailable):
        ensure(OddApi("get"), JOB, progress=progress)  # type: ignore[arg-type]
    job = replace(
        JOB, outcome_unknown=True, history=({**mark, "stored_form": progress.stored_form},)
    )
    for _ in range(30):
        away, progress = OddApi("get"), Progress()
        away.there = ODD
        with pytest.raises(ApiFailure):
            ensure(away, job, progress=progress)  # type: ignore[arg-type]
        entry = attempt_entry(job, "ApiUnavailable", 0.0, progress=progress)
        job = replace(job, history=(*job.history, entry)[-20:])
    api = OddApi()
    api.there = ODD
    assert ensure(api, job)["outcome"] == "existed"  # type: ignore[arg-type]


def test_what_somebody_else_made_of_it_since_is_a_conflict() -> None:
    api = OddApi("add")
    with pytest.raises(ApiUnavailable) as failed:
        ensure(api, replace(JOB, more=WITH_TRIGGERS), progress=(progress := Progress()))  # type: ignore[arg-type]
    assert failed.value.result == {**ODD, "outcome": "created", "differs": ["name"]}
    api.there = {**ODD, "name": "Invoices"}
    entry = attempt_entry(JOB, "ApiUnavailable", 0.0, progress=progress)
    job = replace(JOB, outcome_unknown=True, history=(entry,), more=WITH_TRIGGERS)
    with pytest.raises(WebhookConflict, match="another name;"):
        ensure(api, job)  # type: ignore[arg-type]


def test_an_answer_that_was_another_calls_is_not_believed() -> None:
    api = OddApi(makes=lambda _: None, echo=ODD)
    with pytest.raises(ApiUnavailable, match="has no such webhook") as failed:
        ensure(api, JOB)  # type: ignore[arg-type]
    assert failed.value.outcome_unknown

    other = {**ODD, "name": "Invoices"}
    with pytest.raises(WebhookConflict):
        ensure(OddApi(makes=lambda _: other, echo=ODD), JOB)  # type: ignore[arg-type]
    as_asked = ensure(OddApi(makes=dict, echo=ODD), JOB)  # type: ignore[arg-type]
    assert as_asked == {**ASKED, "outcome": "created"}


@pytest.mark.parametrize("fails", [(), ("get",)])
def test_nor_is_it_when_it_comes_again(fails: tuple[str, ...]) -> None:
    api = OddApi(*fails, makes=lambda _: None, echo=ODD)
    with pytest.raises(AssertionError, match="never ends"):
        run(api, JOB)
    assert api.calls.count("create") > 5
    api._makes = dict
    assert run(api, JOB) == {**ASKED, "outcome": "created"}


@pytest.mark.parametrize("mark", [None, 7, ["x"], {"a": 1}, "", "x" * 64])
def test_whatever_stands_in_the_history_proves_nothing(mark: Any) -> None:
    job = replace(JOB, outcome_unknown=True, history=({"outcome": "lost", "stored_form": mark},))
    api = OddApi()
    api.there = ODD
    with pytest.raises(WebhookConflict):
        ensure(api, job)  # type: ignore[arg-type]
