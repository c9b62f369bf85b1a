"""The steps of a job's way on a real Redis: where it is after each, and what may not change it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from config.settings import get_settings
from tasks.errors import JobNotFound
from tasks.jobs import EXISTS, LEASE_SECONDS, WAITING, JobStore
from tests.integration.steps import (
    ERROR,
    add,
    added,
    claim,
    client_fixture,
    expire,
    new_job,
    places,
    reschedule,
)
from tests.redis_steps import as_script

client = client_fixture


class TestAdd:
    def test_waits_for_a_dispatcher_which_takes_what_the_pipe_has_room_for(
        self, redis_server: str
    ) -> None:
        store = JobStore(get_settings().redis_url, pipe_size=2, result_ttl=60, patience=1)
        jobs = [new_job(f"w{number}") for number in range(4)]
        assert added(store, *jobs) == [WAITING] * 4
        assert store.take_due(queued=0).hints == [job.id for job in jobs[:2]]

    def test_the_room_is_that_of_all_accounts_together(self, redis_server: str) -> None:
        both = ("default", "other")
        store = JobStore(
            get_settings().redis_url, pipe_size=2, result_ttl=60, patience=1, accounts=both
        )
        mine = [new_job(f"w{number}") for number in range(2)]
        store.add([*mine, *(replace(job, id=f"other {job.id}", account="other") for job in mine)])
        hints = store.take_due(queued=0).hints
        assert [hint.startswith("other ") for hint in sorted(hints)] == [False, True]

    def test_a_dispatcher_is_woken_once_for_all_that_are_due(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        add(store, "later", not_before=store.clock() + 60)
        assert not store.wait_for_due(0.01)
        add(store, "one"), add(store, "two")
        assert client.llen("webhooks:wake") == 1
        assert store.wait_for_due(5)
        assert not store.wait_for_due(0.01)
        add(store, "one")  # it exists
        assert not store.wait_for_due(0.01)

    def test_what_is_in_the_place_of_the_list_is_no_obstacle(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        client.set("webhooks:wake", "strange")
        add(store)
        assert store.wait_for_due(5)

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

    def test_success_has_no_error_of_an_earlier_attempt(self, store: JobStore) -> None:
        job = add(store)
        reschedule(store, claim(store, job))
        assert store.finish(claim(store, job, token="t2"), "SUCCESS", result={"id": "orders"})
        assert store.get(job).error is None

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
        assert store.holds(stale) == "lost"
        assert not store.finish(stale, "SUCCESS", result={"id": "stale"})
        assert reschedule(store, stale) is None
        assert store.finish(fresh, "SUCCESS", result={"id": "fresh"})


@pytest.mark.parametrize("instant", ["1.0004", "1.0006", "1.0009999"])
def test_no_time_is_rounded_up(client: redis.Redis, instant: str) -> None:
    """What is due now would not be due yet."""
    assert client.eval(as_script(f"return stamp({instant})"), 0) == "1.000"


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
