"""Failed jobs, taken up again: which, when, and what happens to those that changed meanwhile."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from config.celery_app import app as celery_app
from tasks import InvalidInput, Job, enqueue_webhooks, get_job
from tasks import failed as failed_jobs
from tasks.actions import cancel_job, retry_job
from tasks.errors import StepRefused
from tasks.failed import preview_retry, retry_failed_jobs
from tasks.jobs import JobStore
from tasks.outcome import tell_outcome
from tasks.schedule import retry_failed
from tasks.selection import Selection
from worker.sandbox import SandboxControl
from worker.stack import Stack

URL = "https://shop.example.com/hook"
ERROR = {"class": "ApiUnavailable", "code": "ERR_EXCEPTION", "status": 503, "message": "Down."}


def enqueued(number: int, app_id: str = "shop") -> list[Job]:
    items = [(app_id, {"id": f"w{n}", "name": "W", "webhookURL": URL}) for n in range(number)]
    return [outcome.job for outcome in enqueue_webhooks(items) if outcome.job]


def fail(store: JobStore, job: Job, **error: Any) -> None:
    """What a worker does with a job that fails for good."""
    record = store.claim(job.id, worker="w", token=f"{job.id} {store.clock()}")
    assert record is not None
    assert store.finish(record, "FAILURE", error={**ERROR, **error}, entry={"outcome": "x"})
    tell_outcome(store, store.get(job.id))


def succeed(store: JobStore, job: Job) -> None:
    record = store.claim(job.id, worker="w", token=f"{job.id} {store.clock()}")
    assert record is not None
    assert store.finish(record, "SUCCESS", result={"id": "w", "outcome": "created"})
    tell_outcome(store, store.get(job.id))


@pytest.fixture
def failed(store: JobStore) -> list[Job]:
    jobs = enqueued(5)
    for job in jobs:
        fail(store, job)
    return jobs


def states(jobs: list[Job]) -> list[str]:
    return [job.refresh().state for job in jobs]


class TestAtARate:
    def test_each_waits_in_redis_until_its_turn(
        self, store: JobStore, failed: list[Job], redis_server: str
    ) -> None:
        began = store.clock()
        assert retry_failed_jobs(rate_per_second=0.5) == 5
        due = [job.refresh().record.due_at or 0.0 for job in failed]
        assert due[0] == pytest.approx(began, abs=2)
        assert [one - due[0] for one in due] == pytest.approx([0, 2, 4, 6, 8], abs=0.01)
        with redis.Redis.from_url(redis_server, decode_responses=True) as client:
            assert [client.zscore("webhooks:waiting", job.id) for job in failed] == due
        # Nobody can have one before its time.
        assert store.claim(failed[1].id, worker="w", token="t") is None
        assert store.claim(failed[0].id, worker="w", token="t") is not None

    def test_the_spacing_goes_on_from_step_to_step(self, store: JobStore) -> None:
        jobs = enqueued(600)
        for job in jobs:
            fail(store, job)
        taken: list[int] = []
        assert retry_failed_jobs(rate_per_second=10, on_taken=taken.append) == 600
        assert taken == [250, 250, 100]
        # Those that failed in the same millisecond are in no order.
        due = sorted(job.refresh().record.due_at or 0.0 for job in jobs)
        # Times are whole milliseconds, of which rounding may take one.
        assert min(round(1000 * (later - sooner)) for sooner, later in pairwise(due)) >= 99
        assert due[-1] - due[0] < 65

    @pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e-9])
    def test_a_rate_must_be_one(self, failed: list[Job], rate: float) -> None:
        with pytest.raises(InvalidInput, match="at least one a day"):
            retry_failed_jobs(rate_per_second=rate)
        assert states(failed) == ["FAILURE"] * 5

    def test_they_run_at_that_rate_when_nobody_stays(
        self, stack: Stack, sandbox: SandboxControl, app_id: str
    ) -> None:
        """On a real worker: the API's calls come at most as fast as was said."""
        sandbox.faults({"app_id": app_id, "kind": "status", "status": 422, "operation": "create"})
        jobs = enqueued(6, app_id)
        for job in jobs:
            assert job.wait(15).state == "FAILURE"
        sandbox.reset()
        assert retry_failed_jobs(Selection(app_id=app_id), rate_per_second=2) == 6
        for job in jobs:
            assert job.wait(20).state == "SUCCESS"
            assert [entry["outcome"] for entry in job.history] == ["WebhookRejected", "created"]
        began = sorted(job.history[-1]["at"] for job in jobs)
        # 2.5 s, but for what the first may have waited for the dispatcher.
        assert 1.0 < began[-1] - began[0] < 6.0


class TestSelection:
    def test_by_all_that_a_failure_has(self, store: JobStore) -> None:
        jobs = enqueued(4)
        for job, code in zip(jobs, ("A", "B", "A", "B"), strict=True):
            fail(store, job, code=code)
        since = datetime.now(UTC) - timedelta(hours=1)
        assert retry_failed_jobs(Selection(code="A", failure="ApiUnavailable", since=since)) == 2
        assert states(jobs) == ["PENDING", "FAILURE"] * 2
        assert retry_failed_jobs(Selection(until=since)) == 0
        assert retry_failed_jobs(Selection(failure="PlanLimit")) == 0
        assert retry_failed_jobs(Selection(app_id="other")) == 0
        assert retry_failed_jobs(Selection(since=since.timestamp(), app_id="shop")) == 2

    def test_an_instant_has_a_time_zone(self) -> None:
        with pytest.raises(InvalidInput, match="until: must have a time zone"):
            Selection(until=datetime(2026, 1, 1))

    def test_the_preview_changes_nothing_and_says_all(
        self, store: JobStore, failed: list[Job]
    ) -> None:
        preview = preview_retry(rate_per_second=2)
        assert (preview.count, dict(preview.by_failure)) == (
            5,
            {("ApiUnavailable", "ERR_EXCEPTION"): 5},
        )
        # Two may have failed in the same millisecond.
        assert sorted(job.id for job in preview.first) == sorted(job.id for job in failed)
        assert preview.last_due.timestamp() - store.clock() == pytest.approx(2, abs=1)
        assert states(failed) == ["FAILURE"] * 5

    def test_what_fails_after_the_preview_is_not_in_it(
        self, store: JobStore, failed: list[Job]
    ) -> None:
        preview = preview_retry()
        [late, *_] = enqueued(1, "late-shop")
        fail(store, late)
        assert retry_failed_jobs(preview.selection) == 5
        assert late.refresh().state == "FAILURE"


class TestAJobThatChangesMeanwhile:
    """Between being read and being taken up, another has it."""

    @pytest.fixture
    def between(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
        def happens(change: Callable[[], object]) -> None:
            retry = JobStore.retry

            def first_the_other(*args: Any, **options: Any) -> list[str]:
                monkeypatch.setattr(JobStore, "retry", retry)
                change()
                return retry(*args, **options)

            monkeypatch.setattr(JobStore, "retry", first_the_other)

        return happens

    def succeeds(self, store: JobStore, job: Job) -> None:
        assert store.retry([job.id], how="fresh") == ["PENDING"]
        succeed(store, job)

    def test_stays_as_it_is_and_everybody_is_told_so(
        self, store: JobStore, failed: list[Job], between: Callable[..., None]
    ) -> None:
        between(lambda: self.succeeds(store, failed[2]))
        assert retry_failed_jobs() == 4
        assert states(failed) == ["PENDING", "PENDING", "SUCCESS", "PENDING", "PENDING"]
        assert [AsyncResult(job.id, app=celery_app).state for job in failed] == states(failed)

    def test_one_that_runs_before_it_is_told_has_the_last_word(
        self, store: JobStore, failed: list[Job], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tell = failed_jobs.retold

        def first_it_runs(*args: Any) -> None:
            succeed(store, failed[2])
            tell(*args)

        monkeypatch.setattr(failed_jobs, "retold", first_it_runs)
        assert retry_failed_jobs() == 5
        assert [AsyncResult(job.id, app=celery_app).state for job in failed] == states(failed)
        assert failed[2].refresh().state == "SUCCESS"

    def test_one_alone_is_refused(
        self, store: JobStore, failed: list[Job], between: Callable[..., None]
    ) -> None:
        between(lambda: self.succeeds(store, failed[0]))
        with pytest.raises(StepRefused, match="is SUCCESS; only a failed or cancelled one"):
            retry_job(failed[0].id)
        assert AsyncResult(failed[0].id, app=celery_app).state == "SUCCESS"

    def test_one_that_fails_again_at_once_is_not_taken_up_twice(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = enqueued(300)
        for job in jobs:
            fail(store, job)
        step = JobStore.retry

        def and_fails_again(self: JobStore, ids: list[str], **options: Any) -> list[str]:
            taken = step(self, ids, **options)
            for one in ids:
                assert len(get_job(one).history) == 1
                fail(store, get_job(one))
            return taken

        monkeypatch.setattr(JobStore, "retry", and_fails_again)
        assert retry_failed_jobs() == 300


def test_beat_does_not_take_up_what_was_cancelled_during_its_last_call(
    store: JobStore, failed: list[Job]
) -> None:
    [job] = enqueued(1, "cancelled-shop")
    record = store.claim(job.id, worker="w", token="t")
    assert record is not None
    assert cancel_job(job.id).state == "STARTED"
    assert store.finish(record, "FAILURE", error=ERROR)
    assert store.retry([job.id], how="once") == ["FAILURE"]
    assert retry_failed() == 5
    assert job.refresh().state == "FAILURE"
    assert states(failed) == ["RETRY"] * 5
    assert retry_job(job.id).state == "PENDING"  # a person may


def test_memory_does_not_grow_with_the_number_of_failed_jobs(
    store: JobStore, redis_server: str
) -> None:
    def fill(number: int) -> None:
        with redis.Redis.from_url(redis_server) as client:
            fields = client.hgetall(f"webhooks:job:{enqueued(1)[0].id}")
            pipe = client.pipeline(transaction=False)
            for n in range(number):
                pipe.hset(f"webhooks:job:j{n}", mapping={**fields, "state": "FAILURE"})
                pipe.zadd("webhooks:failed", {f"j{n}": n // 100})  # many at the same instant
            pipe.execute()

    def peak() -> int:
        tracemalloc.start()
        try:
            preview_retry()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    fill(1_000)
    few = peak()
    fill(4_000)
    assert preview_retry().count == 4_000
    assert peak() < few + 500_000
    assert retry_failed_jobs() == 4_000
    assert store.counts()["failed"] == 0
