"""What comes again among the jobs of one webhook: a creation after a delete, a job that had ended.

And all that may happen to such jobs, at random.
"""

from __future__ import annotations

import uuid

import redis

from tasks.jobs import EXISTS, WAITING, JobStore
from tests.chaos.chains import ChainMachine
from tests.chaos.model import run_model
from tests.integration.chained import FIRST, add, begin, change, creation, end, is_held
from tests.integration.steps import ERROR, client_fixture

client = client_fixture


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
        assert is_held(store, again)
        assert add(store, creation(), EXISTS).id == again.id
        end(store, deletion)
        end(store, again)
        assert add(store, creation(), EXISTS).id == again.id
        # Each round anew.
        end(store, add(store, change("delete")))
        once_more = add(store, creation())
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
        assert not client.hexists(f"webhooks:job:{job.id}", "chain")

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
        assert add(store, creation(), WAITING).id != FIRST


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
