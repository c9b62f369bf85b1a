"""`create_webhook.delay`, as a Celery user calls it: a job like that of `enqueue_webhook`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from tasks import InvalidInput, JobConflict, get_job
from tasks.create_webhook import create_webhook
from tasks.store import get_store
from worker.sandbox import SandboxControl

ORDERS = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}


def in_an_hour(**options: Any) -> Any:
    """When the job of such a call is due, in seconds from now on."""
    result = create_webhook.apply_async(("later", ORDERS), **options)
    job = get_job(result.id)
    assert (job.state, result.state) == ("PENDING", "PENDING")
    return (job.record.due_at or 0) - time.time()


class TestOfAWorker:
    def test_a_webhook_is_created_and_the_result_is_the_jobs(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        result = create_webhook.delay(app_id, ORDERS)
        assert result.get(timeout=10)["outcome"] == "created"
        assert result.id == get_job(result.id).id
        [one] = [one for one in sandbox.webhooks() if one["app_id"] == app_id]
        assert (one["id"], one["name"]) == ("orders", "Orders")

    def test_again_it_is_the_same_job(self, sandbox: SandboxControl, app_id: str) -> None:
        first = create_webhook.delay(app_id, ORDERS)
        assert create_webhook.delay(app_id=app_id, webhook=ORDERS).id == first.id
        assert create_webhook.s(app_id, ORDERS).delay().id == first.id
        with pytest.raises(JobConflict):
            create_webhook.delay(app_id, {**ORDERS, "name": "Others"})
        first.get(timeout=10)

    def test_a_jobs_id_alone_is_that_job(self, sandbox: SandboxControl, app_id: str) -> None:
        result = create_webhook.delay(app_id, ORDERS)
        result.get(timeout=10)
        assert create_webhook.delay(result.id).get(timeout=10)["outcome"] == "created"
        assert get_job(result.id).record.attempt == 1


@pytest.mark.usefixtures("redis_server")
class TestWithoutAWorker:
    def test_options_of_enqueueing_go_by_their_names(self) -> None:
        result = create_webhook.delay("shop", ORDERS, priority="bulk", group="acme")
        assert get_job(result.id).record.more.group == "acme"

    @pytest.mark.parametrize(
        ("option", "form"),
        [
            ("countdown", lambda _: 3600),
            ("eta", lambda instant: instant),
            ("eta", lambda instant: instant.replace(tzinfo=None)),
            ("eta", datetime.isoformat),
        ],
        ids=["countdown", "eta", "eta without a zone", "eta as text"],
    )
    def test_times_are_obeyed(self, option: str, form: Callable[[datetime], Any]) -> None:
        instant = datetime.now(UTC) + timedelta(hours=1)
        assert in_an_hour(**{option: form(instant)}) == pytest.approx(3600, abs=30)

    @pytest.mark.parametrize("form", [lambda _: 3600, lambda instant: instant])
    def test_so_is_an_end(self, form: Callable[[datetime], Any]) -> None:
        instant = datetime.now(UTC) + timedelta(hours=1)
        result = create_webhook.apply_async(("shop", ORDERS), expires=form(instant))
        ends = get_job(result.id).record.more.expires_at or 0
        assert ends - time.time() == pytest.approx(3600, abs=30)

    @pytest.mark.parametrize("hours", [-2, 2])
    def test_a_countdown_and_an_end_are_by_the_clock_of_redis(self, hours: int) -> None:
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
            later = create_webhook.apply_async(("later", ORDERS), countdown=600)
            ends_at = datetime.fromtimestamp(get_store().clock(), UTC) + timedelta(hours=1)
            ended = create_webhook.apply_async(("ends", ORDERS), expires=ends_at)
        now = get_store().clock()
        assert (get_job(later.id).record.due_at or 0) - now == pytest.approx(600, abs=30)
        ends = get_job(ended.id).record.more.expires_at or 0
        assert ends - now == pytest.approx(3600, abs=30)

    def test_two_times_for_the_first_attempt_are_one_too_many(self) -> None:
        with pytest.raises(InvalidInput, match="not_before is given, too"):
            create_webhook.apply_async(("shop", ORDERS), eta=datetime.now(UTC), countdown=5)

    def test_all_that_is_wrong_is_named_and_nothing_is_stored(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            create_webhook.apply_async(
                ("shop",),
                {"colour": "red", "not_before": time.time()},
                queue="mine",
                link="other",
                shadow="x",
                task_id="1",
                countdown="soon",
            )
        assert set(caught.value.problems) == {
            "webhook",
            "colour",
            "queue",
            "link",
            "shadow",
            "task_id",
            "countdown",
        }
        assert "the id of a job follows from" in str(caught.value)
        assert sum(get_store().counts().values()) == 0

    @pytest.mark.parametrize("args", [(), ("shop",), ("shop", ORDERS, 2)])
    def test_of_other_arguments_none_is_sent(self, args: Any) -> None:
        with pytest.raises(InvalidInput, match=r"is missing|by their names"):
            create_webhook.apply_async(args)

    def test_what_enqueueing_refuses_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="webhookURL"):
            create_webhook.delay("shop", {**ORDERS, "webhookURL": "nowhere"})
