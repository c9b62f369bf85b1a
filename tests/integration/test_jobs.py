"""The atomic steps on a real Redis: where a job is after each, and what may not change it."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from config.settings import get_settings
from tasks.errors import JobNotFound
from tasks.jobs import EXISTS, LEASE_SECONDS, PUBLISHED, WAITING, JobStore
from tasks.more import More
from tasks.record import JobRecord, NewJob, job_id

PLACES = ("waiting", "published", "running")
ERROR = {"class": "ApiUnavailable", "code": None, "status": 503, "message": "down"}


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def new_job(
    name: str = "orders", *, app: str = "app", not_before: float = 0, **more: Any
) -> NewJob:
    wire = {"id": name, "name": name, "webhookURL": "https://a.example/", "enabled": True}
    its_id = job_id("default", app, name)
    return NewJob(its_id, not_before, "default", app, wire, None, 2, More(**more))


def added(store: JobStore, *jobs: NewJob) -> list[str]:
    return [one.place for one in store.add(jobs)[0]]


def add(store: JobStore, name: str = "orders") -> str:
    job = new_job(name)
    store.add([job])
    return job.id


def claim(store: JobStore, job: str, worker: str = "w1", token: str = "t1") -> JobRecord:
    record = store.claim(job, worker=worker, token=token)
    assert record is not None
    return record


def places(client: redis.Redis, job: str) -> list[str]:
    return [place for place in (*PLACES, "failed") if client.zscore(f"webhooks:{place}", job)]


def expire(client: redis.Redis, place: str, job: str) -> None:
    """Let the time of a set's entry have come."""
    client.zadd(f"webhooks:{place}", {job: 1})


def reschedule(store: JobStore, record: JobRecord, **changes: Any) -> str | None:
    options = {"delay": 0.0, "outcome_unknown": False, "uses_attempt": True, **changes}
    entry = {"attempt": record.attempt}
    followed = store.reschedule(record, error=ERROR, entry=entry, **options)
    return followed.state if followed else None


class TestAdd:
    def test_goes_into_the_pipe_while_there_is_room(self, redis_server: str) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=2, result_ttl=60, patience=1)
        jobs = [new_job(f"w{number}") for number in range(4)]
        assert added(store, *jobs) == [PUBLISHED, PUBLISHED, WAITING, WAITING]

    def test_leaves_a_job_that_exists_as_it_is(self, store: JobStore) -> None:
        job = add(store)
        claim(store, job)
        assert added(store, new_job()) == [EXISTS]
        assert store.get(job).state == "STARTED"

    def test_a_job_for_later_waits_until_then(self, store: JobStore, client: redis.Redis) -> None:
        job = new_job(not_before=store.clock() + 3600)
        assert added(store, job) == [WAITING]
        assert places(client, job.id) == ["waiting"]
        assert store.claim(job.id, worker="w", token="t") is None
        assert 3590 < (store.take_due(queued=0).next_due or 0) <= 3600


class TestClaim:
    def test_numbers_the_attempt_and_takes_a_lease(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = add(store)
        record = claim(store, job)
        assert (record.state, record.attempt, record.attempts) == ("STARTED", 1, 1)
        assert places(client, job) == ["running"]
        left = client.zscore("webhooks:running", job) - store.clock()
        assert LEASE_SECONDS - 1 < left <= LEASE_SECONDS

    def test_a_second_message_finds_nothing(self, store: JobStore) -> None:
        job = add(store)
        claim(store, job)
        assert store.claim(job, worker="w2", token="t2") is None

    def test_asked_again_after_a_lost_answer_is_the_same_claim(self, store: JobStore) -> None:
        job = add(store)
        assert claim(store, job, token="t9").attempt == claim(store, job, token="t9").attempt == 1

    def test_knows_no_unknown_job(self, store: JobStore) -> None:
        assert store.claim("nobody", worker="w", token="t") is None
        with pytest.raises(JobNotFound):
            store.get("nobody")


class TestEnds:
    def test_success_expires_with_its_record(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        assert store.finish(
            claim(store, job), "SUCCESS", result={"id": "orders"}, entry={"attempt": 1}
        )
        record = store.get(job)
        assert (record.state, record.result) == ("SUCCESS", {"id": "orders"})
        assert places(client, job) == []
        assert 0 < client.ttl(f"webhooks:job:{job}") <= 604_800

    def test_failure_stays_in_failed(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        assert store.finish(claim(store, job), "FAILURE", error=ERROR, entry={"attempt": 1})
        assert places(client, job) == ["failed"]
        assert client.ttl(f"webhooks:job:{job}") == -1
        assert store.get(job).error == ERROR

    def test_reporting_twice_is_harmless(self, store: JobStore) -> None:
        record = claim(store, add(store))
        assert store.finish(record, "SUCCESS", result={"id": "a"})
        assert store.finish(record, "SUCCESS", result={"id": "a"})
        assert len(store.get(record.id).history) == 0

    def test_a_stale_attempt_changes_nothing(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        stale = claim(store, job)
        expire(client, "running", job)
        store.take_due(queued=0)
        fresh = claim(store, job, worker="w2", token="t2")
        before = client.hgetall(f"webhooks:job:{job}")
        assert not store.finish(stale, "SUCCESS", result={"id": "stale"})
        assert not store.finish(stale, "FAILURE", error=ERROR)
        assert reschedule(store, stale) is None
        assert store.renew("w1", [job]) == set()
        assert store.hand_back("w1", [job]) == 0
        assert client.hgetall(f"webhooks:job:{job}") == before
        assert store.finish(fresh, "SUCCESS", result={"id": "fresh"})

    def test_an_attempt_of_a_job_that_was_made_anew_is_stale(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        stale = claim(store, add(store))
        client.flushdb()  # it was forgotten
        fresh = claim(store, add(store), worker="w2", token="t2")
        assert (fresh.id, fresh.attempt) == (stale.id, stale.attempt)
        assert store.holds(stale) is None
        assert not store.finish(stale, "SUCCESS", result={"id": "stale"})
        assert reschedule(store, stale) is None
        assert store.finish(fresh, "SUCCESS", result={"id": "fresh"})


class TestReschedule:
    def test_waits_for_its_delay(self, store: JobStore, client: redis.Redis) -> None:
        record = claim(store, add(store))
        assert reschedule(store, record, delay=100) == "RETRY"
        assert places(client, record.id) == ["waiting"]
        assert store.claim(record.id, worker="w", token="t2") is None
        assert store.get(record.id).error == ERROR

    def test_an_unknown_outcome_stays_unknown(self, store: JobStore) -> None:
        job = add(store)
        reschedule(store, claim(store, job), outcome_unknown=True)
        reschedule(store, claim(store, job, token="t2"), outcome_unknown=False)
        assert store.get(job).outcome_unknown

    def test_a_wait_for_the_account_uses_up_no_attempt(self, store: JobStore) -> None:
        job = add(store)
        reschedule(store, claim(store, job), uses_attempt=False)
        reschedule(store, claim(store, job, token="t2"), uses_attempt=False)
        record = store.get(job)
        assert (record.attempt, record.attempts, record.holds) == (2, 0, 2)
        reschedule(store, claim(store, job, token="t3"))
        assert (store.get(job).attempts, store.get(job).holds) == (1, 0)

    def test_history_keeps_the_latest_twenty(self, store: JobStore) -> None:
        job = add(store)
        for number in range(25):
            reschedule(store, claim(store, job, token=f"t{number}"))
        assert [entry["attempt"] for entry in store.get(job).history] == list(range(6, 26))


class TestTakeDue:
    def test_a_dead_workers_job_runs_again_with_its_outcome_unknown(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = add(store)
        claim(store, job)
        assert store.take_due(queued=0).hints == []
        expire(client, "running", job)
        assert store.take_due(queued=0).hints == [(job, 1)]
        record = store.get(job)
        assert record.outcome_unknown
        assert record.history[-1]["outcome"] == "lost"
        assert places(client, job) == ["published"]

    def test_a_dead_workers_job_goes_before_all_that_wait(self, client: redis.Redis) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=1, result_ttl=60, patience=1)
        first, second = add(store, "first"), add(store, "second")
        claim(store, first)
        expire(client, "running", first)
        client.zadd("webhooks:waiting", {second: store.clock() - 3_600})
        assert store.take_due(queued=0).hints == [(first, 1)]

    def test_renewed_leases_do_not_end(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        claim(store, job)
        expire(client, "running", job)
        client.hset(f"webhooks:job:{job}", "started_at", store.clock() - 2)
        assert store.renew("w1", [job, "nobody"]) == {(job, "1")}
        assert store.take_due(queued=0).hints == []

    def test_a_lost_hint_is_published_again(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        expire(client, "published", job)
        assert store.take_due(queued=1).hints == []  # it is in the queue still
        assert store.take_due(queued=0).hints == [(job, 0)]

    def test_never_more_than_the_pipe_holds(self, redis_server: str) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=3, result_ttl=60, patience=1)
        store.add([new_job(f"w{number}") for number in range(10)])
        assert store.take_due(queued=3).hints == []
        claim(store, new_job("w0").id)
        assert len(store.take_due(queued=3).hints) == 0
        assert len(store.take_due(queued=2).hints) == 1
        assert store.counts() == {"waiting": 6, "published": 3, "running": 1, "failed": 0}

    def test_a_job_that_brings_workers_down_waits_longer_each_time(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = add(store)
        for number in range(4):
            claim(store, job, token=f"t{number}")
            expire(client, "running", job)
            due = store.take_due(queued=0)
        assert due.hints == []
        assert 15 < (due.next_due or 0) <= 16

    def test_a_job_whose_calls_failed_before_does_not(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = add(store)
        for number in range(5):
            reschedule(store, claim(store, job, token=f"t{number}"))
        claim(store, job, token="t5")
        expire(client, "running", job)
        assert store.take_due(queued=0).hints == [(job, 6)]


class TestPeople:
    def test_cancel_before_the_call_prevents_it(self, store: JobStore) -> None:
        job = add(store)
        assert store.cancel(job) == ("REVOKED", True)
        assert store.claim(job, worker="w", token="t") is None

    def test_cancel_during_the_call_ends_the_job_instead_of_a_retry(self, store: JobStore) -> None:
        record = claim(store, add(store))
        assert store.cancel(record.id) == ("STARTED", True)
        assert reschedule(store, record) == "REVOKED"

    def test_cancel_during_the_call_does_not_deny_a_success(self, store: JobStore) -> None:
        record = claim(store, add(store))
        store.cancel(record.id)
        assert store.finish(record, "SUCCESS", result={"id": "orders"})
        assert store.get(record.id).state == "SUCCESS"

    def test_cancelled_job_of_a_dead_worker_ends(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        record = claim(store, add(store))
        store.cancel(record.id)
        expire(client, "running", record.id)
        store.take_due(queued=0)
        assert store.get(record.id).state == "REVOKED"

    def test_retry_takes_a_failed_job_up_with_all_attempts(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        record = claim(store, add(store))
        store.finish(record, "FAILURE", error=ERROR, entry={"attempt": 1})
        assert store.retry([record.id, "nobody"], how="fresh") == ["PENDING", ""]
        again = store.get(record.id)
        assert (again.attempts, again.error, len(again.history)) == (0, None, 1)
        assert places(client, record.id) == ["waiting"]
        assert claim(store, record.id, token="t2").attempt == 2

    def test_retry_leaves_others_alone(self, store: JobStore) -> None:
        record = claim(store, add(store))
        assert store.retry([record.id], how="fresh") == ["STARTED"]
        store.finish(record, "SUCCESS", result={"id": "orders"})
        assert store.retry([record.id], how="fresh") == ["SUCCESS"]

    def test_walk_is_newest_first_and_misses_none(self, store: JobStore) -> None:
        for start in range(0, 600, 300):
            store.add([new_job(f"w{number}") for number in range(start, start + 300)])
        ids = [record.id for record in store.walk()]
        assert len(ids) == len(set(ids)) == 600
        assert new_job("w599").id in ids[:300]

    def test_prune_deletes_what_is_past_its_time(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        jobs = [add(store, f"w{number}") for number in range(4)]
        for job in jobs[:3]:
            store.finish(claim(store, job, token=job), "FAILURE", error=ERROR)
        for job in jobs[:2]:
            expire(client, "failed", job)
        client.delete(f"webhooks:job:{jobs[3]}")
        client.zadd("webhooks:index", {jobs[3]: 1})
        assert store.prune(failed_ttl=60) == 3
        assert [record.id for record in store.walk()] == [jobs[2]]

    def test_outcomes_left_untold_are_found_and_told_once(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        record = claim(store, add(store))
        store.finish(record, "FAILURE", error=ERROR)
        assert store.take_untold() == []
        expire(client, "untold", record.id)
        assert [job.id for job in store.take_untold()] == [record.id]
        assert store.take_untold() == []  # somebody has it
        store.told([record.id], alerted="ApiUnavailable:")
        assert client.zcard("webhooks:untold") == 0
        assert store.get(record.id).alerted == store.get(record.id).failure == "ApiUnavailable:"
