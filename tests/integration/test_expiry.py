"""Jobs whose time is over: no call after it, and nobody takes them up again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tasks import Job, StepRefused, Webhook, create_webhook, enqueue_webhook, set_triggers
from tasks.actions import forget_job, retry_job
from tasks.errors import AccountUnknown, Expired
from tasks.failed import preview_retry, retry_failed_jobs
from tasks.jobs import JobStore
from tasks.schedule import retry_failed
from tasks.store import get_store
from tests.conftest import FAST, cancel_all, eventually, open_gate, use_environment
from tests.integration.steps import new_job
from worker.sandbox import SandboxControl
from worker.stack import Part, Stack

URL = "https://shop.example.com/hook"


def orders(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def until_over(job: Job, store: JobStore) -> None:
    expires_at = job.record.more.expires_at
    assert expires_at is not None
    eventually(lambda: store.clock() >= expires_at)


class TestTheRecord:
    """Without a worker."""

    def test_the_time_is_counted_by_the_clock_of_redis(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: 86_400.0)  # this machine is far off
        told = enqueue_webhook("shop", orders(), expires_in=timedelta(minutes=10))
        job = store.get(told.id)
        assert job.more.expires_at == pytest.approx(job.created_at + 600, abs=0.002)
        assert told.record.more.expires_at == pytest.approx(job.more.expires_at, abs=0.002)
        assert told.record.due_at == job.due_at == job.created_at

    def test_it_wakes_when_its_time_is_over_at_the_latest(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        later = store.clock() + 3_600
        monkeypatch.setattr(time, "time", lambda: later)  # so that it is no mistake of a person
        told = enqueue_webhook("shop", orders(), not_before=later + 10, expires_in=60)
        job = store.get(told.id)
        assert job.due_at == job.more.expires_at
        assert told.record.due_at == pytest.approx(job.due_at, abs=0.002)

    def test_it_keeps_the_time_that_it_had(self, store: JobStore) -> None:
        first = enqueue_webhook("shop", orders(), expires_in=600)
        again = enqueue_webhook("shop", orders(), expires_in=6_000)
        assert again.record.more.expires_at == store.get(first.id).more.expires_at
        assert enqueue_webhook("shop", orders()).id == first.id

    def test_it_is_kept_as_an_instant(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders(), expires_in=600)
        [fields] = store._pipelined("HGETALL", [f"job:{job.id}"])
        assert float(fields["expires_at"]) == pytest.approx(job.record.created_at + 600, abs=1)
        assert "expires_in" not in fields

    def test_one_that_is_over_is_published_once_whatever_it_waits_for(
        self, store: JobStore
    ) -> None:
        store.gate.pause("default", reason="maintenance")
        job = enqueue_webhook("shop", orders(), expires_in=0.2)
        enqueue_webhook("shop", orders(id="other"))
        assert store.take_due(queued=0).hints == []
        until_over(job, store)
        assert store.take_due(queued=0).hints == [job.id]
        assert store.take_due(queued=1).hints == []
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        store.finish(record, "FAILURE", error={"class": "Expired", "message": "over"})
        assert store._run(store._redis.zcard, "webhooks:expiring") == 0

    def test_a_full_pipe_is_no_fuller_for_it(
        self, store: JobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.gate.pause("default", reason="maintenance")
        monkeypatch.setattr(store, "_pipe_size", 3)
        jobs = [enqueue_webhook("shop", orders(id=f"w{n}"), expires_in=0.1) for n in range(5)]
        until_over(jobs[-1], store)
        assert len(store.take_due(queued=0).hints) == 3
        assert store.take_due(queued=3).hints == []

    def test_nobody_takes_up_what_failed_and_is_over(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders(), expires_in=0.2)
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        store.finish(record, "FAILURE", error={"class": "ApiUnavailable", "message": "away"})
        until_over(job, store)
        assert retry_failed() == 0
        assert preview_retry().count == 0
        assert retry_failed_jobs() == 0
        with pytest.raises(StepRefused, match="forget the job and enqueue the webhook again"):
            retry_job(job.id)
        assert job.refresh().state == "FAILURE"
        forget_job(job.id)
        assert enqueue_webhook("shop", orders()).state == "PENDING"

    def test_what_failed_and_is_not_over_is_taken_up(self, store: JobStore) -> None:
        job = enqueue_webhook("shop", orders(), expires_in=600)
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        store.finish(record, "FAILURE", error={"class": "ApiUnavailable", "message": "away"})
        assert store._run(store._redis.zcard, "webhooks:expiring") == 0
        assert retry_failed() == 1
        assert store._run(store._redis.zscore, "webhooks:expiring", job.id) == (
            job.record.more.expires_at
        )


#: So that only the job's time ends what is tried here.
PATIENT = {
    **FAST,
    "RETRY_BASE_SECONDS": "300",
    "RETRY_MAX_DELAY_SECONDS": "600",
    "RETRY_MAX_AGE": "3600",
    "COMETCHAT_READ_TIMEOUT": "30",
}


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    with Stack(**PATIENT) as stack:
        stack.start_redis()
        stack.start_sandbox()
        yield stack


@pytest.fixture
def sandbox(own: Stack) -> SandboxControl:
    """Without faults; this process is a producer of the stack, whose gate is open."""
    use_environment(own.env)
    cancel_all()
    control = SandboxControl(own.env["COMETCHAT_BASE_URL"])
    control.reset()
    open_gate(own.env["REDIS_URL"])
    return control


@pytest.fixture(scope="module")
def patient(own: Stack) -> Part:
    """The worker of all tests that do not start one of their own."""
    return ready(own.start_worker())


def ready(worker: Part) -> Part:
    worker.wait_for(lambda: " ready." in worker.output())
    return worker


def assert_expired(job: Job, *, effect: str) -> str:
    assert job.error is not None
    assert (job.state, job.error["class"]) == ("FAILURE", "Expired"), job.error
    expires_at, ended_at = job.record.more.expires_at, job.record.ended_at
    assert expires_at is not None and ended_at is not None
    assert -0.2 < ended_at - expires_at < 3, "neither early nor late"
    assert job.effect == effect
    return str(job.error["message"])


def test_that_nobody_ran_in_time_fails_without_a_call(
    own: Stack, sandbox: SandboxControl, app_id: str
) -> None:
    job = enqueue_webhook(app_id, orders(), expires_in=0.3)
    other = enqueue_webhook(app_id, orders(id="in-time"), expires_in=600)
    until_over(job, get_store())
    ready(worker := own.start_worker("early"))
    assert other.wait(10).state == "SUCCESS"
    job.wait(10)
    assert job.error is not None
    assert job.error["class"] == "Expired"
    assert (job.state, job.effect, job.attempts) == ("FAILURE", "none", 1)
    assert {call["webhook_id"] for call in sandbox.calls()} == {"in-time"}
    worker.stop()


def test_a_closed_gate_does_not_keep_it_from_being_told(
    patient: Part, sandbox: SandboxControl, app_id: str
) -> None:
    get_store().gate.pause("default", reason="maintenance")
    job = enqueue_webhook(app_id, orders(), expires_in=1)
    behind = [enqueue_webhook(app_id, orders(id=f"w{n}")) for n in range(3)]
    assert "No call was made" in assert_expired(job.wait(10), effect="none")
    assert [other.refresh().state for other in behind] == ["PENDING"] * 3
    assert sandbox.calls() == []


def test_nor_does_the_job_before_it(patient: Part, sandbox: SandboxControl, app_id: str) -> None:
    sandbox.faults({"operation": "create", "kind": "hold", "when": "after"})
    first = enqueue_webhook(app_id, orders())
    sandbox.wait_for_held()
    second = set_triggers(app_id, "orders", ["message_sent"], expires_in=1)
    third = set_triggers(app_id, "orders", ["message_edited"])
    assert_expired(second.wait(10), effect="none")
    assert (first.refresh().state, third.refresh().state) == ("STARTED", "PENDING")
    assert third.record.after == first.id, "it is not behind what is over any more"
    sandbox.release()
    assert third.wait(10).state == "SUCCESS"
    assert {call["operation"] for call in sandbox.calls()} >= {"create", "add_triggers"}


def test_no_retry_is_due_after_it(patient: Part, sandbox: SandboxControl, app_id: str) -> None:
    sandbox.faults({"operation": "create", "kind": "status", "status": 503})
    sandbox.faults({"operation": "get", "kind": "status", "status": 503}, add=True)
    job = enqueue_webhook(app_id, orders(), expires_in=2).wait(10)
    message = assert_expired(job, effect="unknown")
    assert "An earlier call may have created it" in message
    assert "The last attempt had failed: CometChat is unavailable" in message
    expires_at = job.record.more.expires_at
    assert expires_at is not None
    assert all(call["time"] < expires_at for call in sandbox.calls())


def test_a_refusal_without_effect_leaves_no_doubt(
    patient: Part, sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.remove_apps(app_id)
    job = enqueue_webhook(app_id, orders(), expires_in=0.9).wait(10)
    assert "No call was made for it after that." in assert_expired(job, effect="none")


def test_a_call_ends_with_it(patient: Part, sandbox: SandboxControl, app_id: str) -> None:
    sandbox.faults({"operation": "create", "kind": "hold", "when": "after"})
    job = enqueue_webhook(app_id, orders(), expires_in=2)
    sandbox.wait_for_held()
    job.wait(10)
    assert_expired(job, effect="unknown")
    assert [entry["outcome"] for entry in job.history] == ["ApiUnavailable", "Expired"]
    assert "no time was left after" in job.history[0]["message"]


def test_triggers_that_come_too_late_leave_a_doubt(
    patient: Part, sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults({"operation": "add_triggers", "kind": "hold"})
    job = enqueue_webhook(app_id, orders(triggers=["message_sent"]), expires_in=2)
    message = assert_expired(job.wait(10), effect="unknown")
    assert "is there, its triggers may not be" in message
    assert [call["operation"] for call in sandbox.calls()] == ["create", "add_triggers"]


def test_a_job_that_is_done_in_time_is_done() -> None:
    with Stack(**FAST) as stack:
        stack.start_redis()
        stack.start_sandbox()
        stack.start_worker()
        use_environment(stack.env)
        sandbox = SandboxControl(stack.env["COMETCHAT_BASE_URL"])
        sandbox.faults({"operation": "add_triggers", "kind": "cut", "times": 1})
        asked = orders(triggers=["message_sent"])
        job = enqueue_webhook("shop", asked, expires_in=timedelta(minutes=1)).wait(10)
        assert (job.state, job.attempts) == ("SUCCESS", 2)
        assert job.as_json()["expires_at"] is not None


def test_one_of_an_account_that_this_worker_does_not_know_ends_too(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been due again at once, for ever."""

    def get_api(account: str) -> Any:
        raise AccountUnknown(f"no credentials for {account}")

    monkeypatch.setattr(create_webhook, "get_api", get_api)
    job = new_job("late", expires_at=store.clock() - 1)
    store.add([job])

    with pytest.raises(Expired):
        create_webhook.create_webhook.apply(args=(job.id,), task_id=job.id, throw=True)

    assert store.get(job.id).state == "FAILURE"
