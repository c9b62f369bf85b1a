"""Jobs of accounts that no worker serves wait, and cost those who are served nothing."""

from __future__ import annotations

from dataclasses import replace

import redis

from tasks.jobs import STEP_LIMIT, JobStore
from tests.conftest import eventually
from tests.integration.steps import add, client_fixture, new_job

client = client_fixture

MANY = 5 * STEP_LIMIT


def look_at_all(store: JobStore, client: redis.Redis) -> list[str]:
    """As many looks as a round takes, half a second apart; what was found."""
    found: list[str] = []
    for _ in range(2 * MANY // STEP_LIMIT):
        client.hdel("webhooks:order", "missing at")
        found += store.take_due(queued=0).hints
    return found


def wait_for_nobody(store: JobStore, client: redis.Redis) -> None:
    """Jobs of an account that this store does not serve are due, all of them in line."""
    now = store.clock()
    jobs = [
        replace(new_job(f"w{number}", not_before=now + 60), account="gone")
        for number in range(MANY)
    ]
    store.add(jobs)
    client.zadd("webhooks:waiting", {job.id: now - 5 for job in jobs})
    hints = [store.take_due(queued=0).hints for _ in range(3 * MANY // STEP_LIMIT)]
    assert [len(some) for some in hints] == [1, *[0] * (len(hints) - 1)], "one of them is tried"


def due_now(store: JobStore, client: redis.Redis, job: str) -> None:
    """It has become due since the last look, if that went on from the one before."""
    until = client.hget("webhooks:order", "until")
    client.zadd("webhooks:waiting", {job: float(until or store.clock()) + 0.0001})


def test_they_are_no_reason_to_hurry(store: JobStore, client: redis.Redis) -> None:
    wait_for_nobody(store, client)
    assert 0.0 not in [store.take_due(queued=0).next_due for _ in range(20)]


def test_they_are_looked_at_twice_a_second(store: JobStore, client: redis.Redis) -> None:
    wait_for_nobody(store, client)
    client.hdel("webhooks:order", "missing at", "missing until")
    store.take_due(queued=0)
    reached = client.hget("webhooks:order", "missing behind")
    client.hset("webhooks:order", "missing at", store.clock())
    store.take_due(queued=0)
    assert client.hget("webhooks:order", "missing behind") == reached


def test_what_becomes_due_does_not_wait_until_all_were_looked_at(
    store: JobStore, client: redis.Redis
) -> None:
    wait_for_nobody(store, client)
    for number in range(10):
        job = add(store, f"due-{number}", not_before=store.clock() + 60)
        due_now(store, client, job)
        # It is due a part of a millisecond after the look before, so perhaps after this one, too.
        assert eventually(lambda: store.take_due(queued=0).hints, every=0.001) == [job]
        store.take_due(queued=0)


def test_one_whose_line_was_lost_is_found_among_them(store: JobStore, client: redis.Redis) -> None:
    wait_for_nobody(store, client)
    assert look_at_all(store, client) == []
    job = add(store, not_before=store.clock() + 60)
    client.zadd("webhooks:waiting", {job: store.clock() - 6})
    client.hset("webhooks:order", "until", store.clock())
    assert look_at_all(store, client) == [job]


def test_the_backlog_of_a_paused_account_is_lined_up_without_pauses(
    store: JobStore, client: redis.Redis
) -> None:
    store.accounts = (*store.accounts, "acme")
    store.gate.pause("acme", reason="maintenance")
    now = store.clock()
    jobs = [new_job(f"w{number}", not_before=now + 60) for number in range(MANY)]
    store.add([replace(job, account="acme") for job in jobs])
    client.zadd("webhooks:waiting", {job.id: now - 5 for job in jobs})
    pauses = [store.take_due(queued=0).next_due for _ in range(MANY // STEP_LIMIT)]
    assert set(pauses) == {0.0}
