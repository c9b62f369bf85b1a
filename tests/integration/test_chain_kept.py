"""What a webhook's chain knows of deletes: for how long, and which of them count."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tasks.jobs import EXISTS, JobStore
from tasks.record import JobRecord
from tests.chaos import keyspace
from tests.integration.chained import FIRST, add, begin, change, creation, end
from tests.integration.steps import ERROR, client_fixture

client = client_fixture

CHAIN = f"webhooks:chain:{FIRST}"
DAY = 86_400
#: As the settings have it by default: days that an ended job's record is kept.
KEPT = 7 * DAY


def with_lifetime(store: JobStore, seconds: int) -> JobStore:
    """The store of a process whose RESULT_TTL is this."""
    store._result_ttl = seconds
    return store


@pytest.fixture(autouse=True)
def _lifetime_as_it_was(store: JobStore) -> Any:
    before = store._result_ttl
    yield
    store._result_ttl = before


def deleted(store: JobStore) -> JobRecord:
    deletion = add(store, change("delete"))
    end(store, deletion)
    return deletion


class TestKept:
    """A delete is remembered for as long as the record of what it deleted could be met."""

    def test_while_the_failed_create_is_there(self, store: JobStore, client: redis.Redis) -> None:
        end(store, add(store, creation()), "FAILURE")
        deleted(store)
        keyspace.forward(client, KEPT + 1)
        again = add(store, creation())
        assert again.id != FIRST
        end(store, again)
        # And after that one's record is gone, too.
        keyspace.forward(client, KEPT + 1)
        assert add(store, creation()).state == "PENDING"

    def test_not_longer_than_that(self, store: JobStore, client: redis.Redis) -> None:
        end(store, add(store, creation()), "FAILURE")
        deleted(store)
        assert client.ttl(CHAIN) == -1
        store.forget([FIRST])
        assert KEPT - 10 < client.ttl(CHAIN) <= KEPT

    def test_while_a_later_failed_create_is_there(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        end(store, add(store, creation()))
        deleted(store)
        second = add(store, creation())
        end(store, second, "FAILURE")
        deleted(store)
        store.forget([FIRST])
        keyspace.forward(client, KEPT + 1)
        assert add(store, creation()).id not in {FIRST, second.id}

    @pytest.mark.parametrize("forgets", [True, False], ids=["forgotten", "a shorter lifetime"])
    def test_as_long_as_an_older_record_has_left(
        self, store: JobStore, client: redis.Redis, forgets: bool
    ) -> None:
        with_lifetime(store, 30 * DAY)
        end(store, add(store, creation()))
        if not forgets:
            with_lifetime(store, 2 * DAY)
        deletion = deleted(store)
        if forgets:
            store.forget([deletion.id])
        assert client.ttl(CHAIN) == pytest.approx(client.ttl(f"webhooks:job:{FIRST}"), abs=2)
        keyspace.forward(client, 8 * DAY)
        assert add(store, creation()).id != FIRST

    def test_as_long_as_one_that_was_cancelled_could_be_taken_up_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        end(store, add(store, creation()))
        with_lifetime(store, 30 * DAY)
        update = add(store, change(name="new"))
        store.cancel(update.id)
        with_lifetime(store, 2 * DAY)
        deleted(store)
        keyspace.forward(client, 8 * DAY)
        assert store.retry([update.id], how="fresh") == ["REVOKED"]

    def test_prune_lets_it_end_with_the_record(self, store: JobStore, client: redis.Redis) -> None:
        end(store, add(store, creation()), "FAILURE")
        deleted(store)
        keyspace.forward(client, 30 * DAY)
        store.prune(failed_ttl=20 * DAY)
        assert client.ttl(CHAIN) > 0
        assert add(store, creation()).state == "PENDING"

    def test_a_chain_of_which_nothing_is_left_ends(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        update = add(store, change(name="new"))
        store.cancel(update.id)
        store.forget([update.id])
        assert client.ttl(CHAIN) != -1


class TestNewAgain:
    """What is enqueued after a delete is a new job, however often the same delete is accepted."""

    @pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
    def test_after_a_delete_that_was_taken_up_behind_the_creation_after_it(
        self, store: JobStore, state: str
    ) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        end(store, deletion, "FAILURE")
        known = {FIRST, deletion.id}
        for _ in range(3):
            again = add(store, creation())
            assert again.id not in known
            assert again.state == "PENDING"
            assert add(store, creation(), EXISTS).id == again.id
            known.add(again.id)
            end(store, again, state)
            assert store.retry([deletion.id], how="last") == ["PENDING"]
            end(store, deletion, "FAILURE")

    def test_while_that_delete_waits_still(self, store: JobStore) -> None:
        deletion = add(store, change("delete"))
        end(store, deletion, "FAILURE")
        second = add(store, creation())
        end(store, second)
        store.retry([deletion.id], how="last")
        third = add(store, creation())
        assert (third.id == second.id, third.after) == (False, deletion.id)

    def test_though_other_jobs_were_taken_up_between(self, store: JobStore) -> None:
        update, deletion = add(store, change(name="new")), add(store, change("delete"))
        end(store, update, "FAILURE")
        end(store, deletion, "FAILURE")
        second = add(store, creation())
        end(store, second)
        for job in (update, deletion):
            store.retry([job.id], how="last")
            end(store, job, "FAILURE")
        assert add(store, creation()).id != second.id

    def test_though_the_chain_was_forgotten_between(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        deletion = add(store, change("delete"))
        end(store, deletion, "FAILURE")
        second = add(store, creation())
        end(store, second, "FAILURE")
        client.delete(CHAIN)
        store.retry([deletion.id], how="last")
        assert add(store, creation()).id not in {FIRST, second.id}


class TestTakenBack:
    """A delete that ended without any effect, and that nobody wants, deletes nothing."""

    def test_cancelled_before_it_ran(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        store.cancel(add(store, change("delete")).id)
        assert add(store, creation(), EXISTS).id == FIRST

    def test_cancelled_while_the_create_runs(self, store: JobStore) -> None:
        running = begin(store, add(store, creation()))
        store.cancel(add(store, change("delete")).id)
        assert add(store, creation(), EXISTS).id == FIRST
        store.finish(running, "SUCCESS", result={"id": "orders"})

    def test_cancelled_after_a_call_that_had_no_effect(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        wait_again(store, deletion, outcome_unknown=False)
        store.cancel(deletion.id)
        assert add(store, creation(), EXISTS).id == FIRST

    def test_cancelled_during_a_call_that_had_no_effect(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        running = begin(store, add(store, change("delete")))
        store.cancel(running.id)
        assert reschedule(store, running, outcome_unknown=False) == "REVOKED"
        assert add(store, creation(), EXISTS).id == FIRST

    def test_but_not_after_one_that_may_have_had_its_effect(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        wait_again(store, deletion, outcome_unknown=True)
        store.cancel(deletion.id)
        assert add(store, creation()).id != FIRST

    @pytest.mark.parametrize("is_held", [True, False])
    def test_expired_before_it_made_a_call(
        self, store: JobStore, client: redis.Redis, is_held: bool
    ) -> None:
        first = add(store, creation())
        running = begin(store, first)
        if not is_held:
            store.finish(running, "SUCCESS", result={"id": "orders"})
        deletion = add(store, change("delete"))
        client.hset(f"webhooks:job:{deletion.id}", "expires_at", "1")
        client.zadd("webhooks:waiting", {deletion.id: 1})
        end(store, deletion, "FAILURE")
        assert add(store, creation(), EXISTS).id == FIRST
        if is_held:
            store.finish(running, "SUCCESS", result={"id": "orders"})

    @pytest.mark.parametrize("first_ends", ["SUCCESS", "FAILURE", "unfinished"])
    def test_an_earlier_delete_counts_still(self, store: JobStore, first_ends: str) -> None:
        end(store, add(store, creation()))
        before = add(store, change("delete"))
        if first_ends != "unfinished":
            end(store, before, first_ends)
        update = add(store, change(name="new"))
        store.cancel(add(store, change("delete")).id)
        again = add(store, creation())
        assert (again.id == FIRST, again.after) == (False, update.id)

    def test_two_that_both_are_cancelled_in_either_order(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        for turn in (1, -1):
            both = [add(store, change("delete"))]
            add(store, change(name="new"))
            both.append(add(store, change("delete")))
            for job in both[::turn]:
                store.cancel(job.id)
            assert add(store, creation(), EXISTS).id == FIRST

    def test_taken_up_again_it_counts_again(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        store.cancel(deletion.id)
        assert store.retry([deletion.id], how="fresh") == ["PENDING"]
        assert add(store, creation()).after == deletion.id

    def test_taken_up_where_it_is_it_counts_again(self, store: JobStore) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        wait_again(store, deletion, outcome_unknown=False)
        store.cancel(deletion.id)
        assert store.retry([deletion.id], how="fresh") == ["PENDING"]
        assert add(store, creation()).after == deletion.id

    def test_one_behind_which_the_webhook_was_created_anew_takes_nothing_back(
        self, store: JobStore
    ) -> None:
        end(store, add(store, creation()))
        deletion = add(store, change("delete"))
        again = add(store, creation())
        store.cancel(deletion.id)
        assert add(store, creation(), EXISTS).id == again.id

    def test_many_deletes_are_remembered_as_a_few(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        end(store, add(store, creation()))
        for state in ["FAILURE"] * 100 + ["SUCCESS"]:
            end(store, add(store, change("delete")), state)
            assert client.memory_usage(CHAIN) < 4_000
        store.cancel(add(store, change("delete")).id)
        assert add(store, creation()).id != FIRST


def reschedule(store: JobStore, running: JobRecord, *, outcome_unknown: bool) -> str:
    followed = store.reschedule(
        running,
        delay=60,
        error=ERROR,
        entry={},
        outcome_unknown=outcome_unknown,
        uses_attempt=True,
    )
    assert followed
    return followed.state


def wait_again(store: JobStore, job: JobRecord, *, outcome_unknown: bool) -> None:
    reschedule(store, begin(store, job), outcome_unknown=outcome_unknown)
