"""The jobs of one webhook on a real Redis: one after the other, whatever happens to each."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
import redis

from config.accounts import DEFAULT as ACCOUNT
from tasks.jobs import EXISTS, PUBLISHED, WAITING, JobStore
from tasks.more import Action, More
from tasks.record import JobRecord, NewJob, job_id
from tests.chaos import keyspace
from tests.chaos.chains import ChainMachine
from tests.chaos.model import run_model
from tests.integration.steps import ERROR, places

FIRST = job_id(ACCOUNT, "app", "orders")
WIRE = {"id": "orders", "name": "Orders", "webhookURL": "https://a.example/", "enabled": True}


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def creation(**wire: Any) -> NewJob:
    return NewJob(FIRST, 0, ACCOUNT, "app", {**WIRE, **wire}, None, 2)


def change(
    action: Action = "update", *triggers: str, password: str | None = None, **wire: Any
) -> NewJob:
    fields = {"id": "orders", **wire}
    more = More(action=action, triggers=triggers)
    its_id = str(uuid.uuid4())
    return NewJob(its_id, 0, ACCOUNT, "app", fields, password, 2, more, chain=FIRST)


def add(store: JobStore, new: NewJob, place: str | None = None) -> JobRecord:
    [[added], _] = store.add([new])
    assert place in {None, added.place}
    return added.record


def begin(store: JobStore, job: JobRecord) -> JobRecord:
    record = store.claim(job.id, worker="w", token=uuid.uuid4().hex)
    assert record is not None
    return record


def is_held(store: JobStore, job: JobRecord) -> bool:
    """Whether it cannot be claimed although its time has come."""
    store._redis.zadd("webhooks:waiting", {job.id: 1}, xx=True)
    return store.claim(job.id, worker="w", token="t") is None


def end(store: JobStore, job: JobRecord, state: Any = "SUCCESS") -> None:
    error = ERROR if state == "FAILURE" else None
    assert store.finish(begin(store, job), state, result={"id": "orders"}, error=error)


class TestOrder:
    @pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
    def test_a_job_waits_for_the_one_before_and_is_woken_by_its_end(
        self, store: JobStore, client: redis.Redis, state: str
    ) -> None:
        first = add(store, creation(), PUBLISHED)
        second = add(store, change("delete"), WAITING)
        assert second.after == first.id
        running = begin(store, first)
        assert is_held(store, second)
        assert store.take_due(queued=0).hints == []
        store.finish(running, state, error=ERROR)  # type: ignore[arg-type]
        assert store.take_due(queued=0).hints == [(second.id, 0)]
        assert begin(store, second).more.action == "delete"

    def test_a_message_that_comes_too_early_changes_nothing_but_when_it_is_looked_at_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        first, second = add(store, creation()), add(store, change())
        keyspace.forward(client, 61)
        before = client.hgetall(f"webhooks:job:{second.id}")
        assert (second.id, 0) in store.take_due(queued=0).hints
        assert is_held(store, second)
        assert places(client, second.id) == ["waiting"]
        left = client.zscore("webhooks:waiting", second.id) - store.clock()
        assert 50 < left <= 60
        assert client.hgetall(f"webhooks:job:{second.id}") == before
        end(store, first)

    def test_an_end_that_woke_nobody_is_noticed_within_a_minute(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        first, second = add(store, creation()), add(store, change())
        client.hset(f"webhooks:job:{first.id}", "state", "SUCCESS")  # as an older worker ends it
        client.zrem("webhooks:published", first.id)
        assert (store.take_due(queued=0).next_due or 0) <= 60
        keyspace.forward(client, 61)
        assert store.take_due(queued=0).hints == [(second.id, 0)]
        begin(store, second)

    def test_a_retry_of_the_one_before_holds_it_still(self, store: JobStore) -> None:
        first, second = add(store, creation()), add(store, change())
        store.reschedule(
            begin(store, first),
            delay=60,
            error=ERROR,
            entry={},
            outcome_unknown=True,
            uses_attempt=True,
        )
        assert is_held(store, second)

    def test_what_is_for_later_is_not_woken_before_its_time(self, store: JobStore) -> None:
        first = add(store, creation())
        due = store.clock() + 3600
        later = change()
        second = add(store, replace(later, not_before=due))
        end(store, first)
        assert store.claim(second.id, worker="w", token="t") is None
        assert 3590 < (store.take_due(queued=0).next_due or 0) <= 3600

    def test_another_webhooks_jobs_wait_for_none_of_these(self, store: JobStore) -> None:
        begin(store, add(store, creation()))
        other = change()
        end(store, add(store, replace(other, chain=job_id(ACCOUNT, "app", "x"))))

    def test_who_never_ran_and_ends_leaves_the_order_of_the_others(self, store: JobStore) -> None:
        first, second = add(store, creation()), add(store, change("delete"))
        third = add(store, change(name="new"))
        running = begin(store, first)
        store.cancel(second.id)
        assert is_held(store, third)
        assert store.get(third.id).after == first.id
        store.finish(running, "SUCCESS", result={"id": "orders"})
        begin(store, third)

    def test_the_last_one_that_never_ran_is_not_waited_for_but_the_one_before_is(
        self, store: JobStore
    ) -> None:
        first, second = add(store, creation()), add(store, change("delete"))
        store.cancel(second.id)
        third = add(store, change(name="new"), WAITING)
        assert third.after == first.id
        assert is_held(store, third)
        end(store, first)
        begin(store, third)

    def test_a_damaged_record_before_it_that_is_no_record_is_not_waited_for(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        client.set(f"webhooks:job:{FIRST}", "no hash")
        end(store, add(store, change()))
        client.delete(f"webhooks:job:{FIRST}")


class TestTheSame:
    def test_who_asks_for_what_the_latest_unfinished_one_does_gets_that_job(
        self, store: JobStore
    ) -> None:
        add(store, creation())
        job = add(store, change(name="new"))
        assert add(store, change(name="new"), EXISTS).id == job.id
        for other in (change(name="newer"), change("delete"), change("set_triggers", "a")):
            assert add(store, other, WAITING).id == other.id
        assert add(store, change("set_triggers", "a"), EXISTS).more.triggers == ("a",)
        assert add(store, change("set_triggers", "b"), WAITING)

    def test_what_has_ended_is_done_again(self, store: JobStore) -> None:
        job = add(store, change(name="new"))
        end(store, job)
        assert add(store, change(name="new"), PUBLISHED).id != job.id

    def test_what_is_cancelled_during_its_call_is_not_the_same(self, store: JobStore) -> None:
        job = add(store, change(name="new"))
        begin(store, job)
        store.cancel(job.id)
        assert add(store, change(name="new"), WAITING).after == job.id

    @pytest.mark.parametrize("times", [{"not_before": 4e9}, {"expires_in": 60.0}], ids=str)
    def test_what_is_for_later_or_may_expire_is_not_the_same(
        self, store: JobStore, times: dict[str, float]
    ) -> None:
        job = add(store, replace(change(name="new"), **times))  # type: ignore[arg-type]
        assert add(store, change(name="new"), WAITING).after == job.id

    def test_what_is_tried_again_is_the_same(self, store: JobStore) -> None:
        job = add(store, change(name="new"))
        running = begin(store, job)
        flags = {"outcome_unknown": True, "uses_attempt": True}
        store.reschedule(running, delay=600, error=ERROR, entry={}, **flags)
        assert add(store, change(name="new"), EXISTS).id == job.id

    def test_with_a_password_none_is_the_same(self, store: JobStore) -> None:
        job = add(store, change(username="a", password="sealed"))
        assert add(store, change(username="a", password="sealed"), WAITING).id != job.id
        assert add(store, change(username="a"), WAITING)

    def test_a_repeated_answer_names_the_same_job(self, store: JobStore) -> None:
        new = change(username="a", password="sealed")
        job = add(store, new)
        add(store, change("delete"))
        again = add(store, new, EXISTS)
        assert (again.id, again.state) == (job.id, "PENDING")
        # Even if by now another asks for the same.
        first = change(name="new")
        add(store, first)
        add(store, change("delete"))
        assert add(store, change(name="new"), WAITING).id != first.id
        assert add(store, first, EXISTS).id == first.id


class TestCreatedAgain:
    def test_after_a_delete_a_creation_is_a_new_job_behind_it(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        again = add(store, creation(), WAITING)
        assert again.id != FIRST
        assert uuid.UUID(again.id).version == 5
        assert again.after == deletion.id
        assert client.hget(f"webhooks:job:{again.id}", "v") == "2"
        assert is_held(store, again)
        assert add(store, creation(), EXISTS).id == again.id
        end(store, deletion)
        end(store, again)
        assert add(store, creation(), EXISTS).id == again.id
        # Each round anew.
        end(store, add(store, change("delete")))
        once_more = add(store, creation(), PUBLISHED)
        assert once_more.id not in {FIRST, again.id}

    def test_without_a_delete_it_stays_the_same_job(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        end(store, add(store, change(name="new")))
        assert add(store, creation(), EXISTS).id == FIRST

    def test_an_update_between_delete_and_creation_makes_no_difference(
        self, store: JobStore
    ) -> None:
        end(store, add(store, creation()))
        end(store, add(store, change("delete")))
        update = add(store, change(name="new"))
        assert add(store, creation(), WAITING).after == update.id

    def test_one_that_was_forgotten_and_is_enqueued_anew_holds_none_that_came_before(
        self, store: JobStore
    ) -> None:
        first = add(store, creation())
        store.cancel(first.id)
        update = add(store, change(name="new"))
        store.forget([first.id])
        assert add(store, creation(), WAITING).after == update.id
        assert is_held(store, first)
        end(store, update)
        end(store, first)

    def test_a_plain_creation_has_no_chain(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store, creation())
        assert client.keys("webhooks:chain:*") == []
        assert client.hget(f"webhooks:job:{job.id}", "v") == "1"

    def test_a_chain_is_kept_until_the_record_of_its_latest_job_is_gone(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        key = f"webhooks:chain:{FIRST}"
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        assert client.ttl(key) == -1
        end(store, deletion)
        assert 604_000 < client.ttl(key) <= 604_800
        update = add(store, change(name="new"))
        assert client.ttl(key) == -1
        end(store, update, "FAILURE")
        assert client.ttl(key) == -1
        store.forget([update.id])
        assert 604_000 < client.ttl(key) <= 604_800
        assert add(store, creation(), PUBLISHED).id != FIRST


class TestTakenUpAgain:
    def test_a_failed_create_does_not_come_back_after_its_delete(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        first = add(store, creation())
        end(store, first, "FAILURE")
        deletion = add(store, change("delete"))
        end(store, deletion)
        assert store.retry([first.id], how="once") == ["FAILURE"]
        assert store.retry([first.id], how="fresh") == ["FAILURE"]
        assert store.retry([first.id], how="last") == ["PENDING"]
        assert store.get(first.id).after == deletion.id
        assert client.hget(f"webhooks:job:{first.id}", "v") == "2"
        assert add(store, creation(), EXISTS).id == first.id

    def test_the_latest_one_is_taken_up_as_ever(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        update = add(store, change(name="new"))
        end(store, update, "FAILURE")
        assert store.retry([update.id], how="once") == ["RETRY"]
        end(store, update, "FAILURE")
        assert store.retry([update.id], how="fresh") == ["PENDING"]

    def test_a_chain_is_kept_while_its_latest_job_is_taken_up_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        update = add(store, change(name="new"))
        running = begin(store, update)
        store.cancel(update.id)
        flags = {"outcome_unknown": True, "uses_attempt": True}
        store.reschedule(running, delay=0, error=ERROR, entry={}, **flags)
        assert client.ttl(f"webhooks:chain:{FIRST}") > 0
        assert store.retry([update.id], how="fresh") == ["PENDING"]
        assert client.ttl(f"webhooks:chain:{FIRST}") == -1

    def test_behind_the_others_it_waits_for_them(self, store: JobStore) -> None:
        first = add(store, creation())
        end(store, first, "FAILURE")
        second, third = add(store, change(name="new")), add(store, change("delete"))
        store.retry([first.id], how="last")
        assert is_held(store, first)
        assert is_held(store, third)
        end(store, second)
        assert is_held(store, first)
        end(store, third)
        begin(store, first)

    def test_a_cancelled_one_that_others_came_after_is_followed_though_it_never_ran(
        self, store: JobStore
    ) -> None:
        first, second = add(store, creation()), add(store, change(name="new"))
        store.cancel(second.id)
        deletion = add(store, change("delete"))
        assert store.retry([second.id], how="fresh") == ["REVOKED"]
        assert store.retry([second.id], how="last") == ["PENDING"]
        end(store, first)
        assert is_held(store, second)
        end(store, deletion)
        begin(store, second)

    def test_a_cancelled_one_that_none_came_after_is_taken_up_where_it_was(
        self, store: JobStore
    ) -> None:
        first, second = add(store, creation()), add(store, change(name="new"))
        store.cancel(second.id)
        assert store.retry([second.id], how="fresh") == ["PENDING"]
        assert is_held(store, second)
        third = add(store, change("delete"))
        assert third.after == second.id
        end(store, first)
        end(store, second)
        begin(store, third)


def test_random_steps_break_no_promise(redis_server: str) -> None:
    assert run_model(1_500, 1, url=redis_server, model=ChainMachine) >= 1_500
