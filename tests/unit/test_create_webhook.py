"""What an attempt looks at before it calls, and when attempts are given up."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from celery.exceptions import Ignore

from tasks import create_webhook
from tasks.backoff import RetryPolicy
from tasks.ensure import ensure
from tasks.errors import WorkerCrashed
from tasks.record import JobRecord
from tests.unit.test_ensure import UNKNOWN, ScriptedApi


class TestBeforeTheCall:
    JOB = replace(UNKNOWN, state="STARTED", token="t1")

    class Store:
        """Knows the job as it is by now."""

        def __init__(self, now: JobRecord | None) -> None:
            self.now = now
            self.asked = 0

        def holds(self, _: JobRecord) -> JobRecord | None:
            self.asked += 1
            return self.now

    @pytest.mark.parametrize(
        ("now", "stopped"),
        [
            (JOB, None),
            (replace(JOB, cancelled=True), create_webhook.Cancelled),
            (None, create_webhook.Superseded),
        ],
        ids=["its own", "cancelled", "another's"],
    )
    def test_the_job_is_looked_at_after_reading_back(
        self, now: JobRecord | None, stopped: type[Exception] | None
    ) -> None:
        store: Any = self.Store(now)
        check = partial(create_webhook.check_current, store, self.JOB, time.monotonic())
        api = ScriptedApi()
        if stopped is None:
            assert ensure(api, self.JOB, before_call=check)["outcome"] == "created"
        else:
            with pytest.raises(stopped):
                ensure(api, self.JOB, before_call=check)
            assert "create" not in api.calls
        assert store.asked == 1

    def test_a_first_attempt_has_nothing_to_look_at_at_once_and_has_later(self) -> None:
        first, store = replace(self.JOB, outcome_unknown=False), self.Store(None)
        asked: Any = store
        create_webhook.check_current(asked, first, time.monotonic())
        assert store.asked == 0
        with pytest.raises(create_webhook.Superseded):
            create_webhook.check_current(asked, first, time.monotonic() - 60)

    def test_a_process_that_leaves_makes_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(create_webhook, "leaving", threading.Event())
        create_webhook.leaving.set()
        store: Any = self.Store(self.JOB)
        with pytest.raises(create_webhook.Superseded):
            create_webhook.check_current(store, self.JOB, time.monotonic())
        with pytest.raises(Ignore):
            create_webhook.create_webhook("some-job")


class TestAttemptsThatEndWithTheirWorker:
    LOST = {"outcome": "lost"}  # noqa: RUF012
    FAILED = {"outcome": "ApiUnavailable"}  # noqa: RUF012
    DAYS = 200_000.0

    @pytest.mark.parametrize(
        ("attempts", "age", "history", "gives_up"),
        [
            (13, DAYS, [LOST] * 12, True),
            (12, DAYS, [LOST] * 11, False),
            (13, 60.0, [LOST] * 12, False),
            (13, DAYS, [LOST] * 11 + [FAILED], False),
            (13, DAYS, [FAILED] * 11 + [LOST], False),
        ],
        ids=["spent", "attempts-left", "time-left", "the-last-one-reported", "only-the-last-one"],
    )
    def test_are_given_up_when_they_are_spent(
        self,
        attempts: int,
        age: float,
        history: list[dict[str, str]],
        gives_up: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(create_webhook, "get_policy", RetryPolicy)
        job = replace(UNKNOWN, attempts=attempts, started_at=1000.0 + age, history=tuple(history))
        if gives_up:
            with pytest.raises(WorkerCrashed, match="Every attempt"):
                create_webhook.refuse_if_workers_die(job)
        else:
            create_webhook.refuse_if_workers_die(job)
