"""Triggers and `on_existing`, whatever the API does: over an API that is a dictionary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config.sealing_keys import new_pair
from tasks.ensure import ensure
from tasks.errors import (
    ApiFailure,
    ApiUnavailable,
    Expired,
    TriggersRefused,
    WebhookConflict,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.existing import changes_for
from tasks.more import More
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.sealing import Sealer
from tests.sealed import with_password
from tests.unit.test_ensure_model import (
    ANOTHER,
    ANSWERS,
    ASKED,
    REFUSALS,
    RIGHT,
    UNSURE,
    WITHOUT_EFFECT,
    ModelApi,
    Way,
    in_time,
    no_effect,
    reads,
    run,
)

WANTED = ("message_sent", "user_blocked", "group_created")
JOB = JobRecord("some-job", "STARTED", "default", "shop", ASKED, 2, created_at=0.0)


class WholeApi(ModelApi):
    """Has triggers, too, and updates; `unfit` are the triggers that it refuses, one by one."""

    def __init__(
        self,
        there: dict[str, Any] | None = None,
        *,
        creates: list[Way] = [],  # noqa: B006
        reads: list[str] = [],  # noqa: B006
        changes: list[Way] = [],  # noqa: B006
        triggers: Iterable[str] = (),
        unfit: Iterable[str] = (),
    ) -> None:
        super().__init__(there, 400, creates, reads)
        self.triggers, self.unfit = list(triggers), set(unfit)
        self.calls: list[str] = []
        self.sent: dict[str, Any] = {}
        self._changes = iter(changes)

    def create_webhook(self, *args: Any, **options: Any) -> Any:
        self.calls.append("create")
        return super().create_webhook(*args, **options)

    def get_webhook(self, *args: Any, **options: Any) -> Any:
        self.calls.append("get")
        return super().get_webhook(*args, **options)

    def update_webhook(
        self, app_id: str, webhook_id: str, changes: Mapping[str, Any], *, version: int | None
    ) -> Any:
        self.calls.append("update")
        way = next(self._changes, RIGHT)
        if self.there is None:
            raise WebhookNotFound("none", status=404)
        if way.effect == "at once":
            self.sent = dict(changes)
            self.there = {**self.there, **changes}
        if way.answer in ANSWERS:
            raise ANSWERS[way.answer]()
        return dict(self.there)

    def add_triggers(
        self, app_id: str, webhook_id: str, trigger_ids: Iterable[str], *, version: int | None
    ) -> dict[str, bool]:
        self.calls.append("add")
        way = next(self._changes, RIGHT)
        if self.there is None:
            raise WebhookNotFound("none", status=404)
        asked = list(trigger_ids)
        assert not set(asked) & set(self.triggers), "added twice"
        if way.effect == "at once":
            self.triggers += [one for one in asked if one not in self.unfit]
        if way.answer in ANSWERS:
            raise ANSWERS[way.answer]()
        return {one: one not in self.unfit for one in asked}

    def list_triggers(self, app_id: str, webhook_id: str, *, version: int | None) -> list[str]:
        self.calls.append("list")
        answer = next(self._reads, "right")
        if answer in ANSWERS:
            raise ANSWERS[answer]()
        if self.there is None:
            raise WebhookNotFound("none", status=404)
        return list(self.triggers)


changes = st.one_of(st.just(RIGHT), no_effect, in_time)
some = st.lists(st.sampled_from(WANTED), unique=True)


@settings(max_examples=400)
@given(
    there=st.sampled_from([None, None, ASKED, ANOTHER]),
    on_existing=st.sampled_from(["accept", "update", "fail"]),
    creates=st.lists(st.one_of(st.just(RIGHT), no_effect, in_time), max_size=4),
    reads=st.lists(reads, max_size=6),
    changes=st.lists(changes, max_size=6),
    has=some,
    unfit=some,
)
def test_a_whole_webhook_or_a_failure_that_is_true(
    there: dict[str, Any] | None,
    on_existing: Any,
    creates: list[Way],
    reads: list[str],
    changes: list[Way],
    has: list[str],
    unfit: list[str],
) -> None:
    has = has if there else []
    unfit = [one for one in unfit if one not in has]
    api = WholeApi(there, creates=creates, reads=reads, changes=changes, triggers=has, unfit=unfit)
    most = len(creates) + len(reads) + len(changes) + 2
    end = run(api, most, More(triggers=WANTED, on_existing=on_existing))
    assert api.created == (there is None)
    event(str(end["outcome"] if isinstance(end, dict) else type(end).__name__))
    match end:
        case {"outcome": outcome, "triggers": triggers}:
            assert api.there == ASKED
            assert sorted(triggers) == sorted(api.triggers)
            assert set(WANTED) <= set(triggers)
            assert not unfit
            assert (outcome == "updated") <= (there == ANOTHER and on_existing == "update")
        case WebhookConflict():
            assert api.there == there
            assert api.triggers == has
            assert there == ANOTHER if on_existing == "accept" else on_existing == "fail"
        case TriggersRefused():
            assert set(WANTED) - set(api.triggers) == set(unfit)
            assert api.there == ASKED
            assert end.result is not None
            assert sorted(end.result["triggers"]) == sorted(api.triggers)
            assert all(one in str(end).partition(". The webhook is there")[0] for one in unfit)
        case _:
            raise AssertionError(f"no reason for {end!r}")


@given(changes=st.lists(st.one_of(no_effect, in_time), max_size=5), reads=st.lists(reads))
def test_an_api_that_takes_duplicates_is_sent_none(changes: list[Way], reads: list[str]) -> None:
    api = WholeApi(changes=changes, reads=reads)
    end = run(api, len(changes) + len(reads) + 2, More(triggers=WANTED))
    assert isinstance(end, dict)
    assert api.calls.count("create") == api.created == 1


FAILURES = {**UNSURE, **WITHOUT_EFFECT, **REFUSALS, "expired": lambda: Expired("over")}
del FAILURES["killed"]


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_after_the_webhook_is_there_knows_it(name: str) -> None:
    class Failing(WholeApi):
        def add_triggers(self, *args: Any, **options: Any) -> Any:
            raise FAILURES[name]()

    progress = Progress()
    with pytest.raises(ApiFailure) as failed:
        ensure(Failing(), replace(JOB, more=More(triggers=WANTED)), progress=progress)
    assert progress.changed
    failure = failed.value
    assert failure.outcome_unknown, "so that the next attempt looks for it"
    assert failure.result is not None
    assert failure.result["outcome"] == "created"
    assert "'orders' of app 'shop'" in str(failure)
    kind = type(FAILURES[name]())
    assert type(failure) is (TriggersRefused if kind is WebhookRejected else kind)


def test_a_list_that_cannot_be_read_leaves_the_triggers_unsaid() -> None:
    api = WholeApi(ASKED, creates=[Way("none", "refused")], reads=["right", "error"])
    with pytest.raises(ApiUnavailable) as failed:
        ensure(api, replace(JOB, more=More(triggers=WANTED)))
    assert failed.value.result == {**ASKED, "outcome": "existed"}


@pytest.mark.parametrize("count", [20, 21, 100])
def test_many_names_make_no_endless_sentence(count: int) -> None:
    names = tuple(f"trigger-{number}" for number in range(count))
    with pytest.raises(TriggersRefused) as refused:
        ensure(WholeApi(unfit=names), replace(JOB, more=More(triggers=names)))
    assert str(refused.value).count("trigger-") == min(count, 20)
    assert ("and 80 more" in str(refused.value)) == (count == 100)


EVERY = ["name", "webhookURL", "enabled"]
OF_BASIC = [*EVERY, "retryOnFailure", "useBasicAuth", "username"]
BASIC = {**ASKED, "retryOnFailure": True, "useBasicAuth": True, "username": "chat"}


@pytest.mark.parametrize(
    ("asked", "found", "sent"),
    [
        (ASKED, ASKED, []),
        # If anything differs or is not shown, all is sent: the API may not keep what is not.
        (ASKED, {**ASKED, "enabled": False}, EVERY),
        (ASKED, {**ASKED, "name": "Old", "webhookURL": "https://x.example"}, EVERY),
        (ASKED, {name: ASKED[name] for name in ("id", "name", "webhookURL")}, EVERY),
        (BASIC, ASKED, OF_BASIC),
        (BASIC, BASIC, []),
        (BASIC, {**BASIC, "username": "other"}, OF_BASIC),
        # What is not asked for stays as it is.
        (ASKED, {**BASIC, "createdAt": 1}, []),
        (ASKED, {**ASKED, "id": "ORDERS", "name": " Orders "}, []),
    ],
)
def test_what_an_update_sends(
    asked: dict[str, Any], found: dict[str, Any], sent: list[str]
) -> None:
    assert changes_for(asked, found) == {name: asked[name] for name in sent}


def test_a_password_is_sent_and_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    key, password = new_pair()[1], SecretStr("hunter2hunter2")
    monkeypatch.setattr("tasks.passwords.get_sealer", lambda: Sealer(private=[key]))
    more = More(on_existing="update")
    wire = {**ASKED, "useBasicAuth": True, "username": "chat"}
    sealed = with_password(replace(JOB, webhook=wire), password, key)
    job = replace(sealed, outcome_unknown=True, more=more)

    class Shy(WholeApi):
        def update_webhook(self, *args: Any, **options: Any) -> Any:
            super().update_webhook(*args, **options)
            return {"id": "orders"}

    api = Shy(dict(wire))
    result = ensure(api, job)
    basic = {"useBasicAuth": True, "username": "chat", "password": password}
    assert api.sent == {**{name: ASKED[name] for name in EVERY}, **basic}
    assert result["changed"] == [*EVERY, *basic]
    assert "hunter2" not in json.dumps(result)
    assert "password" not in result
