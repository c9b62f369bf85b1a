"""What became of a job, told to those who wait for it: whoever dies, whoever asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from config.accounts import DEFAULT as ACCOUNT
from config.celery_app import app as celery_app
from tasks import Job, Webhook, enqueue_webhook
from tasks.actions import cancel_job, retry_job
from tasks.jobs import JobStore
from tasks.outcome import tell_outcome, tell_retry, tell_slow
from tasks.record import JobRecord
from tasks.store import get_store
from tests.conftest import FAST, SentrySink, eventually, use_environment
from worker.sandbox import SandboxControl
from worker.stack import Stack

URL = "https://shop.example.com/hook"
ERROR = {"class": "PlanLimit", "code": "ERR_PLAN_RESTRICTION", "status": 402, "message": "Full."}


@pytest.fixture
def client(stack: Stack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack.env["REDIS_URL"], decode_responses=True) as client:
        yield client


def webhook(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def stored(job: Job) -> AsyncResult:
    """The job's result as the backend has it; each look at it asks Redis."""
    return AsyncResult(job.id, app=celery_app)


def claimed(client: redis.Redis, app_id: str) -> tuple[Job, JobRecord]:
    """A job that this process has claimed as a worker does; no real one can have got it first."""
    store = get_store()
    job = enqueue_webhook(app_id, webhook(), not_before=store.clock() + 3600)
    client.zadd("webhooks:published", {job.id: store.clock() + 60})
    record = store.claim(job.id, worker="dies@here", token=job.id)
    assert record is not None
    return job, record


class TestAnOutcomeThatADeadWorkerLeftUntold:
    def test_is_told_by_another_once(
        self, sandbox: SandboxControl, sentry: SentrySink, client: redis.Redis, app_id: str
    ) -> None:
        job, record = claimed(client, app_id)
        assert get_store().finish(record, "FAILURE", error=ERROR, entry={"outcome": "PlanLimit"})
        assert stored(job).state == "PENDING"
        client.zadd("webhooks:untold", {job.id: 1})

        eventually(lambda: stored(job).state == "FAILURE", 15)
        assert str(stored(job).result) == "Full."
        [event] = eventually(lambda: sentry.of(app_id))
        assert event["tags"]["job"] == job.id

        # Told a second time, as if the note that it was told had got lost: Sentry hears nothing.
        eventually(lambda: client.zscore("webhooks:untold", job.id) is None)
        client.zadd("webhooks:untold", {job.id: 1})
        eventually(lambda: client.zscore("webhooks:untold", job.id) is None, 15)
        sandbox.remove_apps(app_id)
        other = enqueue_webhook(app_id, webhook(id="later")).wait(15)
        eventually(lambda: any(e["tags"]["job"] == other.id for e in sentry.of(app_id)))
        assert [e["tags"]["job"] for e in sentry.of(app_id)] == [job.id, other.id]

    def test_is_told_to_those_who_wait_for_it(
        self, sandbox: SandboxControl, client: redis.Redis, app_id: str
    ) -> None:
        job, record = claimed(client, app_id)
        get_store().finish(record, "SUCCESS", result={"id": "orders", "outcome": "created"})
        client.zadd("webhooks:untold", {job.id: 1})
        assert stored(job).get(timeout=15) == {"id": "orders", "outcome": "created"}


class TestAProcessThatKnowsNothingButCelery:
    SCRIPT = """
import json, sys
from celery import Celery

url, job_id = sys.argv[1:]
result = Celery(broker=url, backend=url).AsyncResult(job_id)
try:
    print(json.dumps(result.get(timeout=10)))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), result.state]))
"""

    def look(self, stack: Stack, job: Job, folder: Path) -> Any:
        done = subprocess.run(
            [sys.executable, "-I", "-c", self.SCRIPT, stack.env["REDIS_URL"], job.id],
            cwd=folder,
            env={},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def test_gets_the_result(
        self, stack: Stack, sandbox: SandboxControl, app_id: str, tmp_path: Path
    ) -> None:
        job = enqueue_webhook(app_id, webhook()).wait(10)
        assert job.state == "SUCCESS"
        assert self.look(stack, job, tmp_path) == job.result

    def test_gets_the_failure(
        self, stack: Stack, sandbox: SandboxControl, app_id: str, tmp_path: Path
    ) -> None:
        sandbox.faults({"app_id": app_id, "kind": "status", "status": 422, "operation": "create"})
        job = enqueue_webhook(app_id, webhook()).wait(10)
        assert job.error is not None
        told = self.look(stack, job, tmp_path)
        assert told == ["WebhookRejected", job.error["message"], "FAILURE"]


@pytest.fixture
def patient_sandbox() -> Iterator[SandboxControl]:
    """That of a stack whose worker waits for answers long enough to be seen waiting."""
    patient = {"COMETCHAT_READ_TIMEOUT": "30", "APP_NOT_FOUND_SECONDS": "60"}
    with Stack(**{**FAST, **patient}) as stack:
        stack.start_redis()
        stack.start_sandbox()
        worker = stack.start_worker()
        worker.wait_for(lambda: " ready." in worker.output())
        use_environment(stack.env)
        yield SandboxControl(stack.env["COMETCHAT_BASE_URL"])


class TestTheBackendSaysWhatTheRecordSays:
    def test_through_a_life_with_a_cancellation(self, patient_sandbox: SandboxControl) -> None:
        sandbox = patient_sandbox
        create = {"operation": "create", "times": 1}
        sandbox.faults(
            {**create, "kind": "hold"},
            # The gate is closed for so long, and the job rests in RETRY.
            {**create, "kind": "rate_limit", "seconds": 60, "headers_style": "retry-after"},
            {**create, "kind": "hold", "when": "after"},
        )
        sandbox.remove_apps("shop")

        job = enqueue_webhook("shop", webhook(), not_before=get_store().clock() + 1)
        assert (job.state, stored(job).state) == ("PENDING", "PENDING")
        sandbox.wait_for_held()
        eventually(lambda: stored(job).state == "STARTED")
        assert job.refresh().state == "STARTED"
        sandbox.release()
        eventually(lambda: [e["outcome"] for e in job.refresh().history][-1:] == ["RateLimited"])
        eventually(lambda: stored(job).state == "RETRY")
        assert cancel_job(job.id).state == "REVOKED"
        # Who is about to tell that the attempt is slow may tell RETRY, and then corrects it.
        eventually(lambda: stored(job).state == "REVOKED")

        sandbox.add_apps("shop", after_seconds=0)
        retry_job(job.id)
        assert get_store().gate.resume(ACCOUNT) == "limited"
        sandbox.wait_for_held()
        eventually(lambda: stored(job).state == "STARTED")
        sandbox.release()
        assert job.wait(10).state == "SUCCESS"
        eventually(lambda: stored(job).state == "SUCCESS")
        assert stored(job).get() == job.result

    def test_a_job_cancelled_during_its_call_tells_what_became_of_the_call(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        hold = {"app_id": app_id, "operation": "create", "kind": "hold", "seconds": 30, "times": 1}
        sandbox.faults(hold)
        job = enqueue_webhook(app_id, webhook())
        sandbox.wait_for_held()
        assert cancel_job(job.id).state == "STARTED"
        sandbox.release()
        assert job.wait(10).state == "SUCCESS"
        eventually(lambda: stored(job).state == "SUCCESS")


def fail(store: JobStore, job: Job, token: str = "t") -> None:
    """What a worker does with a job that fails for good."""
    record = store.claim(job.id, worker="w", token=token)
    assert record is not None
    assert store.finish(record, "FAILURE", error=ERROR)
    tell_outcome(store, store.get(job.id))


class TestTakenUpAgain:
    """Without a worker, so that nobody takes the job in between."""

    @pytest.mark.parametrize("end", [fail, lambda _, job: cancel_job(job.id)])
    def test_a_job_is_pending_everywhere(
        self, store: JobStore, end: Callable[[JobStore, Job], object]
    ) -> None:
        job = enqueue_webhook("shop", webhook())
        end(store, job)
        assert stored(job).state == job.refresh().state != "PENDING"
        assert retry_job(job.id).state == "PENDING"
        assert stored(job).state == "PENDING"

    @pytest.mark.parametrize("how", ["retry_job", "retry_failed"])
    def test_a_worker_that_is_faster_than_the_correction_has_the_last_word(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        from tasks.schedule import retry_failed

        job = enqueue_webhook("shop", webhook())
        fail(store, job)
        if how == "retry_failed":
            monkeypatch.setitem(ERROR, "class", "ApiUnavailable")
            retry_job(job.id)
            fail(store, job, "again")
        step = JobStore.retry

        def retry_and_lose_the_race(self: JobStore, *args: Any, **options: Any) -> list[str]:
            states = step(self, *args, **options)
            fail(store, job, "at once")
            return states

        monkeypatch.setattr(JobStore, "retry", retry_and_lose_the_race)
        retry_failed() if how == "retry_failed" else retry_job(job.id)
        assert job.refresh().state == "FAILURE"
        assert job.record.attempt == (3 if how == "retry_failed" else 2)
        assert stored(job).state == "FAILURE"


class TestToldByTwoAtOnce:
    """A worker or a dispatcher tells of a retry while somebody ends the job."""

    @pytest.mark.parametrize("how", ["tell_retry", "tell_slow"])
    def test_the_end_has_the_last_word(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        job = enqueue_webhook("shop", webhook())
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        wait = {"delay": 60.0, "outcome_unknown": False, "uses_attempt": True}
        store.reschedule(record, error=ERROR, entry={"outcome": "PlanLimit"}, **wait)
        write = celery_app.backend.store_result

        def late(job_id: str, info: object, state: str, **options: Any) -> None:
            if state == "RETRY":
                monkeypatch.setattr(celery_app.backend, "store_result", write)
                cancel_job(job.id)
            write(job_id, info, state, **options)

        monkeypatch.setattr(celery_app.backend, "store_result", late)
        if how == "tell_retry":
            tell_retry(store, job.refresh().record, Exception("Full."))
        else:
            tell_slow(store, job.id)
        assert stored(job).state == job.refresh().state == "REVOKED"
