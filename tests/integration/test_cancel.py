"""Cancelled jobs say what is known of their calls; jobs for later wait in Redis alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from config.celery_app import app as celery_app
from tasks import Job, Webhook, enqueue_webhook, get_job
from tasks.actions import cancel_job, retry_job
from tasks.errors import ApiUnavailable
from tasks.jobs import JobStore
from tasks.outcome import error_of
from tasks.store import get_store
from tests.conftest import FAST, eventually, use_environment
from worker.sandbox import SandboxControl
from worker.stack import Part, Stack

YEAR = 365 * 86_400


@pytest.fixture(scope="module")
def patient() -> Iterator[Stack]:
    """Its worker waits for answers long enough to be seen waiting, and tries each job once."""
    settings = {"COMETCHAT_READ_TIMEOUT": "5", "APP_NOT_FOUND_SECONDS": "60"}
    with Stack(**{**FAST, **settings, "RETRY_MAX_ATTEMPTS": "1"}) as stack:
        stack.start_redis()
        stack.start_sandbox()
        yield stack


@pytest.fixture
def sandbox(patient: Stack) -> SandboxControl:
    use_environment(patient.env)
    control = SandboxControl(patient.env["COMETCHAT_BASE_URL"])
    control.reset()
    return control


@pytest.fixture
def worker(patient: Stack) -> Part:
    """One that runs; tests may kill it."""
    last = patient.parts[-1]
    if not last.name.startswith("worker") or last.process.poll() is not None:
        last = patient.start_worker(f"worker-{len(patient.parts)}")
        last.wait_for(lambda: " ready." in last.output())
    return last


def orders() -> Webhook:
    return Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")


def hold(app_id: str, **rule: Any) -> dict[str, Any]:
    return {"app_id": app_id, "operation": "create", "kind": "hold", "times": 1, **rule}


def told(job: Job) -> str:
    return str(AsyncResult(job.id, app=celery_app).state)


def kept(sandbox: SandboxControl, app_id: str) -> list[dict[str, Any]]:
    return [one for one in sandbox.webhooks() if one["app_id"] == app_id]


class TestCancelDuringACall:
    def test_that_fails_without_effect(
        self, worker: Part, sandbox: SandboxControl, app_id: str
    ) -> None:
        sandbox.faults(hold(app_id))
        job = enqueue_webhook(app_id, orders())
        sandbox.wait_for_held()
        assert cancel_job(job.id).state == "STARTED"
        assert (job.refresh().effect, job.record.cancelled) == ("unknown", True)
        sandbox.remove_apps(app_id)  # so that the API will not know it, which would be tried again
        sandbox.release()
        eventually(lambda: job.refresh().state == "REVOKED")
        assert [entry["outcome"] for entry in job.history] == ["AppNotFound"]
        assert job.effect == "none"
        eventually(lambda: told(job) == "REVOKED")
        assert kept(sandbox, app_id) == []

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_whose_end_nobody_sees(
        self, patient: Stack, worker: Part, sandbox: SandboxControl, app_id: str, when: str
    ) -> None:
        sandbox.faults(hold(app_id, when=when))
        job = enqueue_webhook(app_id, orders())
        sandbox.wait_for_held()
        cancel_job(job.id)
        worker.kill()
        with redis.Redis.from_url(patient.env["REDIS_URL"]) as client:
            client.zadd("webhooks:running", {job.id: 1})  # its lease has ended
        get_store().take_due(queued=0)  # what the dispatcher of another worker does
        assert (job.refresh().state, job.effect) == ("REVOKED", "unknown")
        assert job.history[-1]["outcome"] == "lost"
        sandbox.release()
        assert len(kept(sandbox, app_id)) in ((0, 1) if when == "before" else (1,))

    def test_that_succeeds(self, worker: Part, sandbox: SandboxControl, app_id: str) -> None:
        sandbox.faults(hold(app_id))
        job = enqueue_webhook(app_id, orders())
        sandbox.wait_for_held()
        cancel_job(job.id)
        sandbox.release()
        assert job.wait(10).state == "SUCCESS"
        assert job.effect == "created"
        assert len(kept(sandbox, app_id)) == 1

    def test_that_fails_for_good_with_nobody_knowing_how(
        self, worker: Part, sandbox: SandboxControl, app_id: str
    ) -> None:
        """The last attempt's timeout; taken up again by a person, the job reads back first."""
        sandbox.faults(hold(app_id, when="after", seconds=7))
        job = enqueue_webhook(app_id, orders())
        sandbox.wait_for_held()
        cancel_job(job.id)
        assert job.wait(15).state == "FAILURE"
        assert job.error is not None
        assert (job.error["class"], job.effect) == ("ApiUnavailable", "unknown")
        sandbox.faults()
        assert retry_job(job.id).wait(15).effect == "existed"
        [webhook] = kept(sandbox, app_id)
        assert webhook["created_by_calls"] == 1


def test_cancel_while_the_webhook_is_read_back_prevents_the_call(
    patient: Stack, worker: Part, sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults(hold(app_id, operation="get", when="before"))
    job = enqueue_webhook(app_id, orders(), not_before=get_store().clock() + 3_600)
    with redis.Redis.from_url(patient.env["REDIS_URL"]) as client:
        client.hset(f"webhooks:job:{job.id}", "unknown", "1")  # an earlier call may have created it
        client.zadd("webhooks:waiting", {job.id: 1})  # an hour later
    sandbox.wait_for_held()
    assert cancel_job(job.id).state == "STARTED"
    sandbox.release()
    eventually(lambda: job.refresh().state == "REVOKED")
    assert [entry["outcome"] for entry in job.history] == ["cancelled"]
    assert "create" not in {
        call["operation"] for call in sandbox.calls(1000) if call["app_id"] == app_id
    }
    eventually(lambda: told(job) == "REVOKED")


def test_cancel_before_the_call_prevents_it(
    patient: Stack, worker: Part, sandbox: SandboxControl, app_id: str
) -> None:
    """Although its message is in the queue already, and a worker comes for it."""
    worker.signal(signal.SIGSTOP)
    try:
        job = enqueue_webhook(app_id, orders())
        assert cancel_job(job.id).state == "REVOKED"
        assert (job.refresh().effect, told(job)) == ("none", "REVOKED")
    finally:
        worker.signal(signal.SIGCONT)
    later = enqueue_webhook(f"{app_id}-later", orders())
    assert later.wait(20).state == "SUCCESS"  # the queue is first in, first out
    assert app_id not in {call["app_id"] for call in sandbox.calls(1000)}
    assert job.refresh().state == "REVOKED"


class TestEffect:
    """Without a worker: what is known after each way."""

    UNKNOWN = ApiUnavailable("The connection was reset.", outcome_unknown=True)

    def attempt(self, store: JobStore, job: Job, *, outcome_unknown: bool) -> None:
        record = store.claim(job.id, worker="w", token=os.urandom(4).hex())
        assert record is not None
        store.reschedule(
            record,
            delay=0,
            error=error_of(self.UNKNOWN),
            entry={"outcome": "ApiUnavailable"},
            outcome_unknown=outcome_unknown,
            uses_attempt=True,
        )

    def test_none_of_a_job_that_was_never_run(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders())
        assert job.effect == "none"
        assert cancel_job(job.id).effect == "none"

    def test_none_after_calls_that_never_left(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders())
        self.attempt(store, job, outcome_unknown=False)
        assert cancel_job(job.id).effect == "none"
        assert retry_job(job.id).effect == "none"

    def test_unknown_after_one_whose_end_nobody_saw(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders())
        self.attempt(store, job, outcome_unknown=True)
        assert job.refresh().effect == "unknown"
        self.attempt(store, job, outcome_unknown=False)
        assert cancel_job(job.id).effect == "unknown"
        # Taken up again, it is still to be read back.
        assert retry_job(job.id).effect == "unknown"
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        assert record.outcome_unknown

    def test_unknown_after_a_worker_handed_it_back(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders())
        store.claim(job.id, worker="w", token="t")
        assert cancel_job(job.id).state == "STARTED"
        store.hand_back("w", [job.id])
        assert (job.refresh().state, job.effect) == ("REVOKED", "unknown")

    @pytest.mark.parametrize(("unknown", "effect"), [(True, "unknown"), (False, "none")])
    def test_of_a_final_failure(self, store: JobStore, unknown: bool, effect: str) -> None:
        job = enqueue_webhook("shop", orders())
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        error = error_of(self.UNKNOWN)
        assert store.finish(record, "FAILURE", error=error, outcome_unknown=unknown)
        assert job.refresh().effect == effect
        assert retry_job(job.id).record.outcome_unknown == unknown

    @pytest.mark.parametrize("outcome", ["created", "existed"])
    def test_of_a_success_whatever_came_before(self, store: JobStore, outcome: Any) -> None:
        job = enqueue_webhook("shop", orders())
        self.attempt(store, job, outcome_unknown=True)
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        store.finish(record, "SUCCESS", result={"id": "orders", "outcome": outcome})
        assert job.refresh().effect == outcome


class TestNotBefore:
    def test_a_job_a_year_ahead_costs_its_record_alone(
        self, store: JobStore, redis_server: str
    ) -> None:
        due = store.clock() + YEAR
        job = enqueue_webhook("shop", orders(), not_before=due)
        with redis.Redis.from_url(redis_server, decode_responses=True) as client:
            keys = {"webhooks:index", "webhooks:waiting", f"webhooks:job:{job.id}"}
            assert set(client.scan_iter()) == keys
            assert sum(client.memory_usage(key) or 0 for key in keys) < 1_500
            assert client.ttl(f"webhooks:job:{job.id}") == -1
        assert store.take_due(queued=0).hints == []
        assert store.claim(job.id, worker="w", token="t") is None
        assert job.due_at is not None
        assert job.due_at.timestamp() == pytest.approx(due, abs=0.001)

    def test_jobs_run_within_a_second_or_so_of_their_times(
        self, worker: Part, sandbox: SandboxControl, app_id: str
    ) -> None:
        start = get_store().clock() + 1
        jobs = [
            enqueue_webhook(f"{app_id}-{n}", orders(), not_before=start + n / 2) for n in range(8)
        ]
        for n, job in enumerate(jobs):
            began = job.wait(20).history[0]["at"]
            assert 0 <= began - (start + n / 2) < 2

    def test_a_year_later_it_runs_when_it_is_due(
        self, patient: Stack, worker: Part, sandbox: SandboxControl, app_id: str
    ) -> None:
        job = enqueue_webhook(app_id, orders(), not_before=get_store().clock() + YEAR)
        soon = get_store().clock() + 2
        with redis.Redis.from_url(patient.env["REDIS_URL"]) as client:
            assert client.llen("webhooks") == 0
            client.zadd("webhooks:waiting", {job.id: soon}, xx=True)  # the year has passed
        assert 0 <= job.wait(20).history[0]["at"] - soon < 2
        assert get_job(job.id).state == "SUCCESS"
