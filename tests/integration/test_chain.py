"""The jobs of one webhook on a real Redis: one after the other, whatever happens to each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from config.accounts import DEFAULT as ACCOUNT
from tasks.jobs import EXISTS, WAITING, JobStore
from tasks.record import job_id
from tests.chaos import keyspace
from tests.integration.chained import FIRST, add, begin, change, creation, end, is_held
from tests.integration.steps import ERROR, client_fixture, places

client = client_fixture


class TestOrder:
    @pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
    def test_a_job_waits_for_the_one_before_and_is_woken_by_its_end(
        self, store: JobStore, client: redis.Redis, state: str
    ) -> None:
        first = add(store, creation(), WAITING)
        second = add(store, change("delete"), WAITING)
        assert second.after == first.id
        running = begin(store, first)
        assert is_held(store, second)
        assert store.take_due(queued=0).hints == []
        store.finish(running, state, error=ERROR)  # type: ignore[arg-type]
        assert store.take_due(queued=0).hints == [second.id]
        assert begin(store, second).more.action == "delete"

    def test_a_message_that_comes_too_early_changes_nothing_but_when_it_is_looked_at_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        first, second = add(store, creation()), add(store, change())
        keyspace.forward(client, 61)
        before = client.hgetall(f"webhooks:job:{second.id}")
        assert second.id not in store.take_due(queued=0).hints
        assert is_held(store, second)
        assert places(client, second.id) == ["waiting"]
        left = client.zscore("webhooks:waiting", second.id) - store.clock()
        assert 50 < left <= 60
        assert client.hgetall(f"webhooks:job:{second.id}") == before
        end(store, first)

    def test_its_end_wakes_a_dispatcher(self, store: JobStore) -> None:
        first, second = add(store, creation()), add(store, change())
        assert store.wait_for_due(1)
        end(store, first)
        assert store.wait_for_due(1)
        assert store.take_due(queued=0).hints == [second.id]

    def test_an_end_that_woke_nobody_is_noticed_within_a_minute(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        first, second = add(store, creation()), add(store, change())
        assert store.take_due(queued=0).hints == [first.id]
        # As if its end had woken nobody.
        client.hset(f"webhooks:job:{first.id}", "state", "SUCCESS")
        client.zrem("webhooks:published", first.id)
        assert (store.take_due(queued=0).next_due or 0) <= 60
        keyspace.forward(client, 61)
        assert store.take_due(queued=0).hints == [second.id]
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
        assert add(store, change(name="new"), WAITING).id != job.id

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

    def test_with_another_password_none_is_the_same(self, store: JobStore) -> None:
        job = add(store, change(username="a", password="sealed"))
        assert add(store, change(username="a", password="sealed"), EXISTS).id == job.id
        assert add(store, change(username="a", password="another"), WAITING).id != job.id
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
