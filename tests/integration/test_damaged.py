"""Records that are damaged stay as they are, and are in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tasks.actions import list_jobs
from tasks.errors import RecordUnreadable
from tasks.jobs import LEASE_SECONDS, JobStore
from tasks.repair import find_problems
from tasks.schedule import prune, retry_failed
from tasks.store import get_store
from tests.integration.steps import ERROR, add, claim, expire

Damage = Callable[[Any, str], None]


def not_a_number(client: Any, key: str) -> None:
    client.hset(key, "attempts", "many")


def a_field_is_gone(client: Any, key: str) -> None:
    client.hdel(key, "webhook")


def half_a_text(client: Any, key: str) -> None:
    client.hset(key, "webhook", '{"id": "a')


def no_hash(client: Any, key: str) -> None:
    client.delete(key)
    client.set(key, "x")


DAMAGES = [not_a_number, a_field_is_gone, half_a_text, no_hash]


@pytest.fixture(name="client")
def client_fixture(redis_server: str) -> Any:
    return redis.Redis.from_url(redis_server, decode_responses=True)


@pytest.fixture(name="bad", params=DAMAGES, ids=[one.__name__ for one in DAMAGES])
def bad_fixture(request: Any, client: Any, store: JobStore) -> tuple[str, Damage]:
    """A job, and how to damage its record."""
    return add(store, "bad"), request.param


def key(job: str) -> str:
    return f"webhooks:job:{job}"


FIELDS = [
    ("state", "DONE"),
    ("v", "one"),
    *(
        (name, value)
        for name in ("attempt", "attempts", "holds")
        for value in ("many", "0.5", "1e1")
    ),
    *(
        (name, value)
        for name in ("created_at", "due_at", "started_at", "first_attempt_at", "expires_at")
        for value in ("soon", "-1", "253402300800", "9" * 400)
    ),
    ("created_at", "nan"),
    ("webhook_version", "x"),
    ("webhook", '{"id": "a'),
    ("webhook", "[1]"),
    ("webhook", "7"),
    ("error", "[1]"),
    ("result", "x"),
    ("history", '{"ms": 1}\n[2]'),
]


@pytest.mark.parametrize(("name", "value"), FIELDS)
def test_steps_and_python_agree_on_what_cannot_be_read(
    store: JobStore, client: Any, name: str, value: str
) -> None:
    job = add(store)
    client.hset(key(job), name, value)
    assert [found.kind for found in find_problems()] == ["unreadable"]
    assert store.claim(job, worker="w1", token="t1") is None
    with pytest.raises(RecordUnreadable):
        store.get(job)


def test_bytes_that_are_no_text_are_damage_to_their_record_alone(
    store: JobStore, client: Any
) -> None:
    job, good = add(store, "bad"), add(store, "good")
    client.hset(key(job), "app_id", b"\xff\xfe")
    assert [one.id for one in list_jobs(limit=10)] == [good]
    with pytest.raises(RecordUnreadable):
        store.get(job)


def test_a_dead_workers_job_stops_no_dispatcher(
    store: JobStore, client: Any, bad: tuple[str, Damage]
) -> None:
    job, damage = bad
    claim(store, job)
    damage(client, key(job))
    expire(client, "running", job)
    dead = add(store, "dead")
    claim(store, dead)
    expire(client, "running", dead)
    before = client.dump(key(job))
    for _ in range(2):
        assert dead in store.take_due(queued=0).hints
        expire(client, "published", dead)
    assert client.dump(key(job)) == before
    assert client.zscore("webhooks:running", job) > store.clock() + LEASE_SECONDS


def test_one_that_waits_stops_no_dispatcher_and_no_worker(
    store: JobStore, client: Any, bad: tuple[str, Damage]
) -> None:
    job, damage = bad
    damage(client, key(job))
    client.zrem("webhooks:published", job)
    client.zadd("webhooks:waiting", {job: 1})
    good = add(store, "good")
    expire(client, "published", good)
    # Where not even its account can be read, it is not published at all.
    hinted = set(store.take_due(queued=0).hints)
    assert hinted in ({job, good}, {good})
    before = client.dump(key(job))
    assert store.claim(job, worker="w1", token="t1") is None
    assert client.dump(key(job)) == before
    assert store.hand_back("w1", [job, good]) >= 1
    assert store.renew("w1", [job, good]) == set()
    claim(store, good)


def test_it_is_left_out_of_lists_and_of_what_is_told(
    store: JobStore, client: Any, bad: tuple[str, Damage], caplog: pytest.LogCaptureFixture
) -> None:
    job, damage = bad
    good = add(store, "good")
    for one in (job, good):
        assert store.finish(claim(store, one, token=one), "FAILURE", error=ERROR)
    damage(client, key(job))
    for place in ("failed", "untold"):
        expire(client, place, job)
    with pytest.raises(RecordUnreadable, match=job):
        store.get(job)
    with caplog.at_level(logging.WARNING):
        assert [one.id for one in list_jobs(limit=10)] == [good]
    assert job in caplog.text
    store.take_untold()
    retry_failed()
    prune()


def test_a_lost_hint_of_what_is_no_record_stops_no_dispatcher(redis_server: str) -> None:
    store = get_store()
    with redis.Redis.from_url(redis_server) as client:
        client.set("webhooks:job:strange", "x")
        client.zadd("webhooks:published", {"strange": 1})
        assert store.take_due(queued=0).hints == ["strange"]


def test_one_whose_time_is_over_stops_no_dispatcher(store: JobStore, client: redis.Redis) -> None:
    client.set(key("strange"), "no record")
    client.zadd("webhooks:expiring", {"strange": 1})
    good = add(store)
    assert store.take_due(queued=0).hints == [good]
