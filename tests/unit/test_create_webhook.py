"""When no attempt is begun, and when attempts are given up."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from celery.exceptions import Ignore

from tasks import create_webhook
from tasks.backoff import RetryPolicy
from tasks.errors import WorkerCrashed
from tests.unit.test_ensure import UNKNOWN


def test_a_process_that_leaves_begins_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_webhook, "leaving", threading.Event())
    create_webhook.leaving.set()
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
