"""Celery's result is what the record says: after `forget`, after waits, whoever was away."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from config.celery_app import app
from tasks import Job, Webhook, enqueue_webhook, set_triggers
from tasks.actions import cancel_job, forget_job, retry_job
from tasks.jobs import JobStore
from tasks.outcome import note_successes, tell_outcome, tell_slow
from tasks.record import JobRecord
from tasks.signals import job_failed
from tasks.store import get_store
from tests.integration.attempts import URL, api_fixture, attempt, told, triggers
from tests.integration.steps import ERROR, client_fixture
from worker.dispatcher import Leases, Telling
from worker.sandbox import SandboxControl

api, client = api_fixture, client_fixture


class Away(Exception):
    """The result backend is."""


@pytest.fixture(name="backend")
def backend_fixture(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Celery's, which can be `away`."""

    class Switch:
        away = False

    switch = Switch()
    for name in ("forget", "store_result"):
        real = getattr(app.backend, name)

        def call(*args: Any, _real: Any = real, **options: Any) -> Any:
            if switch.away:
                raise Away
            return _real(*args, **options)

        monkeypatch.setattr(app.backend, name, call)
    return switch


def enqueued(app_id: str = "shop") -> Job:
    return enqueue_webhook(app_id, Webhook(id="orders", name="Orders", webhookURL=URL))


def begin(store: JobStore, job: Any, token: str = "t", worker: str = "w") -> JobRecord:
    store._redis.zadd("webhooks:waiting", {job.id: 1}, xx=True)
    record = store.claim(job.id, worker=worker, token=token)
    assert record is not None
    return record


def ended(store: JobStore, job: Any, state: Any = "SUCCESS", token: str = "t") -> None:
    """What a worker does."""
    record = begin(store, job, token)
    error = ERROR if state == "FAILURE" else None
    assert store.finish(record, state, result={"id": "orders"}, error=error)
    tell_outcome(store, store.get(job.id))


def dispatcher_tells(client: redis.Redis) -> None:
    """What is to be told is told, now."""
    for job in client.zrange("webhooks:untold", 0, -1):
        client.zadd("webhooks:untold", {job: 1})
    Telling(Leases("other")).tick(get_store())


def forgotten_while_away(store: JobStore, backend: Any) -> Any:
    """A job that was forgotten while the result backend was away."""
    job = enqueued()
    ended(store, job)
    backend.away = True
    forget_job(job.id)
    backend.away = False
    return job


class TestForgotten:
    def test_a_result_that_could_not_be_forgotten_is_later(
        self, store: JobStore, client: redis.Redis, backend: Any
    ) -> None:
        job = forgotten_while_away(store, backend)
        assert told(job) == "SUCCESS"
        dispatcher_tells(client)
        assert told(job) == "PENDING"
        assert client.zcard("webhooks:untold") == 0

    def test_nor_is_it_that_of_the_job_that_is_enqueued_anew(
        self, store: JobStore, client: redis.Redis, backend: Any
    ) -> None:
        job = forgotten_while_away(store, backend)
        assert enqueued().id == job.id
        dispatcher_tells(client)
        assert told(job) == "PENDING"

    @pytest.mark.parametrize("state", ["FAILURE", "REVOKED", "RETRY", "STARTED"])
    def test_whatever_becomes_of_the_job_that_is_enqueued_anew(
        self, store: JobStore, backend: Any, state: str
    ) -> None:
        job = forgotten_while_away(store, backend)
        enqueued()
        if state == "FAILURE":
            ended(store, job, "FAILURE", "new")
        elif state == "REVOKED":
            cancel_job(job.id)
        elif state == "STARTED":
            begin(store, job, "new")
            tell_slow(store, job.id)
        else:
            retried(store, begin(store, job, "new"))
            tell_slow(store, job.id)
        assert (told(job), store.get(job.id).state) == (state, state)

    def test_a_record_that_expired_leaves_no_success_either(self, store: JobStore) -> None:
        job = enqueued()
        ended(store, job)
        store._redis.delete(f"webhooks:job:{job.id}")
        enqueued()
        ended(store, job, "FAILURE", "new")
        assert told(job) == "FAILURE"

    def test_a_success_is_not_told_after_it_was_forgotten(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueued()
        record = begin(store, job)
        store.finish(record, "SUCCESS", result={"id": "orders"})
        late = store.get(job.id)
        forget_job(job.id)
        tell_outcome(store, late)  # by a worker that stood still meanwhile
        note_successes(store)
        dispatcher_tells(client)
        assert told(job) == "PENDING"


class TestTakenUp:
    @pytest.mark.parametrize("how", ["person", "beat"])
    def test_what_could_not_be_told_is_later(
        self, store: JobStore, client: redis.Redis, backend: Any, how: str
    ) -> None:
        from tasks.schedule import retry_failed

        job = enqueued()
        ended(store, job, "FAILURE")
        backend.away = True
        retry_job(job.id) if how == "person" else retry_failed()
        backend.away = False
        dispatcher_tells(client)
        assert told(job) == job.refresh().state == ("PENDING" if how == "person" else "RETRY")
        assert client.zcard("webhooks:untold") == 0


class TestSlow:
    """The attempt was told as STARTED, and its job waits again."""

    def test_as_the_gate_was_closed_between_two_calls(
        self, api: SandboxControl, app_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api.put_webhook(app_id, "orders", name="Orders", url=URL, triggers=["group_created"])
        job = set_triggers(app_id, "orders", ["message_sent"])

        def paused(self: Any, headers: Any) -> None:
            if "message_sent" in triggers(api, app_id):
                tell_slow(get_store(), job.id)
                assert told(job) == "STARTED"
                get_store().gate.pause("default", reason="maintenance")

        monkeypatch.setattr("tasks.turn.Turn.after_call", paused)
        attempt(job)
        assert told(job) == job.refresh().state == "RETRY"

    @pytest.mark.parametrize("how", ["handed back", "lost"])
    def test_as_its_worker_went_away(self, store: JobStore, client: redis.Redis, how: str) -> None:
        job = enqueued()
        begin(store, job)
        tell_slow(store, job.id)
        if how == "lost":
            client.zadd("webhooks:running", {job.id: 1})
            store.gate.pause("default", reason="maintenance")
            store.take_due(queued=0)
        else:
            store.hand_back("w", [job.id])
        dispatcher_tells(client)
        assert told(job) == job.refresh().state == "RETRY"
        assert client.zcard("webhooks:untold") == 0


class TestSentry:
    @pytest.fixture
    def heard(self) -> Any:
        heard: list[str] = []

        def hear(job: JobRecord, **_: Any) -> None:
            heard.append(job.failure)

        job_failed.connect(hear, weak=False)
        yield heard
        job_failed.disconnect(hear)

    def failed(self, store: JobStore, job: Any, token: str = "t") -> JobRecord:
        store.finish(begin(store, job, token), "FAILURE", error=ERROR, entry={"attempt": 1})
        return store.get(job.id)

    @pytest.mark.parametrize("second", [tell_slow, lambda s, j: tell_outcome(s, s.get(j))])
    def test_two_that_tell_at_once_tell_it_once(
        self, store: JobStore, client: redis.Redis, heard: list[str], second: Any
    ) -> None:
        job = enqueued()
        failure = self.failed(store, job)

        def meanwhile(**_: Any) -> None:
            job_failed.disconnect(meanwhile)
            second(store, job.id)

        job_failed.connect(meanwhile, weak=False)
        tell_outcome(store, failure)
        assert heard == ["ApiUnavailable:"]
        assert client.zcard("webhooks:untold") == 0

    def test_one_that_died_while_it_told_is_followed_by_another(
        self, store: JobStore, client: redis.Redis, heard: list[str]
    ) -> None:
        job = enqueued()
        failure = self.failed(store, job)

        def died(**_: Any) -> None:
            raise SystemExit

        job_failed.connect(died, weak=False)
        with pytest.raises(SystemExit):
            tell_outcome(store, failure)
        job_failed.disconnect(died)
        heard.clear()
        dispatcher_tells(client)
        assert heard == []  # it may be at it still
        client.hset(f"webhooks:job:{job.id}", "alerting", "1")
        dispatcher_tells(client)
        assert heard == ["ApiUnavailable:"]
        assert client.zcard("webhooks:untold") == 0

    def test_a_person_who_takes_it_up_takes_nothing_from_it(
        self, store: JobStore, client: redis.Redis, heard: list[str]
    ) -> None:
        job = enqueued()
        tell_outcome(store, self.failed(store, job))
        retry_job(job.id)
        tell_outcome(store, self.failed(store, job, "again"))
        assert heard == ["ApiUnavailable:"] * 2


def retried(store: JobStore, record: JobRecord) -> None:
    wait: dict[str, Any] = {"delay": 60.0, "outcome_unknown": False, "uses_attempt": True}
    store.reschedule(record, error=ERROR, entry={"outcome": "ApiUnavailable"}, **wait)
