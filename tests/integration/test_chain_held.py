"""What waits for the job before it: for nothing, and not for what nobody can finish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from tasks.jobs import EXISTS, WAITING, JobStore
from tasks.record import JobRecord
from tests.chaos import keyspace
from tests.integration.chained import FIRST, add, begin, change, creation, end, is_held
from tests.integration.steps import client_fixture

client = client_fixture

KEY = f"webhooks:job:{FIRST}"

#: Ways in which the record of a job that waits becomes one that nobody can read.
DAMAGES: dict[str, Callable[[redis.Redis], Any]] = {
    "a time": lambda c: c.hset(KEY, "created_at", "damaged"),
    "a number": lambda c: c.hset(KEY, "attempts", "many"),
    "the webhook": lambda c: c.hset(KEY, "webhook", "{"),
    "no account": lambda c: c.hdel(KEY, "account"),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


class TestDamaged:
    @damages
    def test_a_job_that_waits_is_not_waited_for(
        self, store: JobStore, client: redis.Redis, damage: Callable[[redis.Redis], Any]
    ) -> None:
        add(store, creation())
        update = add(store, change(name="new"), WAITING)
        damage(client)
        end(store, release(client, update))
        # Nor by what is accepted from now on.
        deletion = add(store, change("delete"))
        end(store, release(client, deletion))

    @damages
    def test_others_are_published_though_nobody_wakes_them(
        self, store: JobStore, client: redis.Redis, damage: Callable[[redis.Redis], Any]
    ) -> None:
        add(store, creation())
        update = add(store, change(name="new"), WAITING)
        damage(client)
        release(client, update)
        assert update.id in store.take_due(queued=0).hints
        begin(store, update)

    def test_what_is_accepted_later_goes_at_once(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        add(store, creation())
        DAMAGES["a time"](client)
        update = add(store, change(name="new"))
        assert update.id in store.take_due(queued=0).hints

    def test_one_that_asks_for_the_same_is_another_job(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        update = add(store, change(name="new"))
        client.hset(f"webhooks:job:{update.id}", "created_at", "damaged")
        again = add(store, change(name="new"), WAITING)
        assert again.id != update.id

    def test_its_attempt_is_waited_for_as_long_as_one_may_take(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        begin(store, add(store, creation()))
        update = add(store, change(name="new"))
        client.hset(KEY, "webhook", "{")
        assert is_held(store, update)
        client.hset(KEY, "started_at", f"{store.clock() - 700:.3f}")
        assert not is_held(store, update)

    def test_the_attempt_whose_start_cannot_be_read_is_not_waited_for(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        begin(store, add(store, creation()))
        update = add(store, change(name="new"))
        client.hset(KEY, "started_at", "damaged")
        assert not is_held(store, update)

    def test_one_of_a_later_layout_is_waited_for(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        add(store, creation())
        update = add(store, change(name="new"))
        client.hset(KEY, mapping={"v": "9", "webhook": "packed"})
        assert is_held(store, update)

    def test_once_it_is_mended_it_is_as_ever(self, store: JobStore, client: redis.Redis) -> None:
        first = add(store, creation())
        update = add(store, change(name="new"))
        before = client.hget(KEY, "created_at")
        client.hset(KEY, "created_at", "damaged")
        client.hset(KEY, "created_at", before)
        assert is_held(store, update)
        end(store, first)
        end(store, update)
        assert add(store, creation(), EXISTS).id == FIRST


class TestCosts:
    """A job that waits for another has no message, and nobody claims it."""

    @pytest.mark.parametrize("depth", [1, 3])
    def test_no_message_while_it_waits(
        self, store: JobStore, client: redis.Redis, depth: int
    ) -> None:
        begin(store, add(store, creation()))
        behind = [add(store, change(name=f"v{number}"), WAITING) for number in range(depth)]
        for _ in range(5):
            keyspace.forward(client, 61)
            client.zadd("webhooks:running", {FIRST: store.clock() + 60})
            assert store.take_due(queued=0).hints == []
            waits = [client.zscore("webhooks:waiting", job.id) - store.clock() for job in behind]
            assert all(50 < seconds <= 60 for seconds in waits)
            assert client.keys("webhooks:ready:*") == []

    def test_many_take_no_places_of_the_pipe(self, store: JobStore, client: redis.Redis) -> None:
        begin(store, add(store, creation()))
        for number in range(300):
            add(store, change(name=f"v{number}"))
        keyspace.forward(client, 61)
        client.zadd("webhooks:running", {FIRST: store.clock() + 60})
        due = [store.take_due(queued=0) for _ in range(3)]
        assert [one.hints for one in due] == [[], [], []]
        assert client.zcount("webhooks:waiting", "-inf", store.clock()) == 0

    def test_it_goes_when_the_one_before_has_ended(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        running = begin(store, add(store, creation()))
        update = add(store, change(name="new"))
        keyspace.forward(client, 61)
        client.zadd("webhooks:running", {FIRST: store.clock() + 60})
        store.take_due(queued=0)
        store.finish(running, "SUCCESS", result={"id": "orders"})
        assert store.take_due(queued=0).hints == [update.id]


def release(client: redis.Redis, job: JobRecord) -> JobRecord:
    """The time has come at which it is looked at again."""
    client.zadd("webhooks:waiting", {job.id: 1}, xx=True)
    return job
