"""The steps that others than its worker take with a job, on a real Redis: dispatcher and people."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from config.settings import get_settings
from tasks.jobs import STEP_LIMIT, JobStore
from tests.integration.steps import (
    ERROR,
    add,
    claim,
    client_fixture,
    expire,
    hint,
    new_job,
    places,
    reschedule,
)

client = client_fixture


class TestTakeDue:
    def test_hints_of_a_message_in_the_queue_are_not_sent_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        jobs = hint(store, "0", "1", "2")
        for job in jobs:
            client.zadd("webhooks:published", {job: store.clock() - 9})
        assert store.take_due(queued=1, batch=50).hints == []
        assert store.take_due(queued=0, batch=50).hints == jobs

    def test_one_that_is_lost_is_sent_again_however_many_messages_wait(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        lost, other = hint(store, "lost", "other")
        client.zadd("webhooks:published", {lost: store.clock() - 11, other: store.clock() - 1})
        assert store.take_due(queued=1, batch=50).hints == [lost]
        assert store.take_due(queued=1, batch=50).hints == []

    def test_a_dead_workers_job_runs_again_with_its_outcome_unknown(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = add(store)
        claim(store, job)
        assert store.take_due(queued=0).hints == []
        expire(client, "running", job)
        assert store.take_due(queued=0).hints == [job]
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
        assert store.take_due(queued=0).hints == [first]

    def test_it_goes_before_one_that_came_later_and_went_back(self, client: redis.Redis) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=1, result_ttl=60, patience=1)
        first, second = add(store, "first"), add(store, "second")
        claim(store, first)
        reschedule(store, claim(store, second, worker="w2", token="t2"))
        expire(client, "running", first)
        assert store.take_due(queued=0).hints == [first]

    def test_renewed_leases_do_not_end(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store)
        claim(store, job)
        expire(client, "running", job)
        client.hset(f"webhooks:job:{job}", "started_at", store.clock() - 2)
        assert store.renew("w1", [job, "nobody"]) == {(job, "1")}
        assert store.take_due(queued=0).hints == []

    def test_a_lost_hint_is_published_again(self, store: JobStore, client: redis.Redis) -> None:
        [job] = hint(store, "orders")
        client.zadd("webhooks:published", {job: store.clock() - 1})
        assert store.take_due(queued=1).hints == []  # it is in the queue still
        assert store.take_due(queued=0).hints == [job]

    def test_a_hint_is_not_sent_again_before_its_time(self, store: JobStore) -> None:
        hint(store, "orders")
        assert store.take_due(queued=0).hints == []

    def test_each_step_takes_a_batch_at_most(self, client: redis.Redis) -> None:
        store = JobStore(
            get_settings().redis_url, pipe_size=4 * STEP_LIMIT, result_ttl=60, patience=1
        )
        store.gate.pause("default", reason="")
        store.add([new_job(f"w{number}") for number in range(2 * STEP_LIMIT)])
        for _ in range(3):
            store.take_due(queued=0)
        store.gate.resume("default")
        assert len(store.take_due(queued=0).hints) == STEP_LIMIT

    def test_never_more_than_the_pipe_holds(self, redis_server: str) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=3, result_ttl=60, patience=1)
        store.add([new_job(f"w{number}") for number in range(10)])
        assert len(store.take_due(queued=0).hints) == 3
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
        assert store.take_due(queued=0).hints == [job]

    def test_a_new_job_of_an_account_that_is_not_served_is_tried_once(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = replace(new_job(), account="asia")
        store.add([job])
        assert store.take_due(queued=0).hints == [job.id]
        reschedule(store, claim(store, job.id))
        client.hdel("webhooks:order", "tried_at")
        assert store.take_due(queued=0).hints == []

    def test_a_dispatcher_is_woken_for_what_is_taken_up_or_given_back(
        self, store: JobStore
    ) -> None:
        job = add(store)
        assert store.wait_for_due(1)
        store.finish(claim(store, job), "FAILURE", error=ERROR, entry={})
        assert not store.wait_for_due(0.01)
        store.retry([job], how="fresh")
        assert store.wait_for_due(1)
        assert store.take_due(queued=0).hints == [job]
        store.hand_back("w1", [job])
        assert store.wait_for_due(1)


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

    def test_retry_spaces_them(self, store: JobStore) -> None:
        jobs = [add(store, f"w{number}") for number in range(3)]
        for job in jobs:
            assert store.finish(claim(store, job, token=job), "FAILURE", error=ERROR)
        store.retry(jobs, how="fresh", due=store.clock() + 60, spacing=5)
        first, *others = [store.get(job).due_at or 0 for job in jobs]
        assert [due - first for due in others] == pytest.approx([5, 10], abs=0.01)

    def test_sentry_is_told_of_a_failure_once(self, store: JobStore) -> None:
        job = add(store)
        assert store.finish(claim(store, job), "FAILURE", error=ERROR)
        record = store.get(job)
        assert [store.may_alert(record) for _ in range(2)] == ["yes", "another does"]
        store.told([job], "FAILURE", alerted=record.failure)
        assert store.may_alert(record) == "done"

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
        assert store.take_untold() == [record.id]
        assert store.take_untold() == []  # somebody has it
        assert store.told([record.id], "SUCCESS") == [record.id]
        assert store.told([record.id], "FAILURE", alerted="ApiUnavailable:") == []
        assert client.zcard("webhooks:untold") == 0
        assert store.get(record.id).alerted == store.get(record.id).failure == "ApiUnavailable:"
