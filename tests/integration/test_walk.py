"""Walking over all jobs in slices, while others come and go."""

from __future__ import annotations

from itertools import islice

import pytest
import redis

from tasks import enqueue_webhooks
from tasks.jobs import JobStore

MOST = 5_000


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def enqueued(number: int, app_id: str = "shop") -> list[str]:
    items = [
        (f"{app_id}-{n}", {"id": "w", "name": "W", "webhookURL": "https://a.example/"})
        for n in range(number)
    ]
    return [outcome.job.id for outcome in enqueue_webhooks(items) if outcome.job]


def walked(store: JobStore, *, oldest_first: bool, **times: float) -> list[str]:
    records = store.walk(oldest_first=oldest_first, **times)
    return [record.id for record in islice(records, MOST)]


@pytest.mark.parametrize("oldest_first", [True, False])
def test_many_of_the_same_instant_come_once_each(
    store: JobStore, client: redis.Redis, oldest_first: bool
) -> None:
    ids = enqueued(700)
    client.zadd("webhooks:index", dict.fromkeys(ids[100:], 1000000))
    client.zadd("webhooks:index", dict.fromkeys(ids[:100], 1000001))
    found = walked(store, oldest_first=oldest_first)
    assert sorted(found) == sorted(ids)
    assert set(found[-100:] if oldest_first else found[:100]) == set(ids[:100])


@pytest.mark.parametrize("oldest_first", [True, False])
def test_those_that_leave_meanwhile_take_no_others_along(
    store: JobStore, client: redis.Redis, oldest_first: bool
) -> None:
    ids = enqueued(900)
    client.zadd("webhooks:index", {one: 1_000 + n // 300 for n, one in enumerate(ids)})
    found = []
    for record in islice(store.walk(oldest_first=oldest_first), MOST):
        found.append(record.id)
        client.zrem("webhooks:index", record.id)
    assert sorted(found) == sorted(ids)


def test_those_that_come_meanwhile_are_left_out_of_newest_first(store: JobStore) -> None:
    ids = enqueued(600)
    found = []
    for record in islice(store.walk(), MOST):
        found.append(record.id)
        if len(found) % 250 == 1:
            enqueued(100, f"late-{len(found)}")
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("oldest_first", [True, False])
def test_between_two_instants_both_included(
    store: JobStore, client: redis.Redis, oldest_first: bool
) -> None:
    ids = enqueued(10)
    client.zadd("webhooks:index", {one: 1_000 + n / 1_000 for n, one in enumerate(ids)})
    found = walked(store, oldest_first=oldest_first, since=1_000.002, until=1_000.005)
    assert found == (ids[2:6] if oldest_first else ids[5:1:-1])
