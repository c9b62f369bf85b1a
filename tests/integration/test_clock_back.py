"""Redis's clock is set back, by a little at a fail-over or by an hour: work goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from config.accounts import DEFAULT as ACCOUNT
from tasks.gate import Told
from tasks.jobs import JobStore
from tests.conftest import eventually
from tests.integration.steps import add, claim, client_fixture, new_job, places

client = client_fixture

GATE = f"webhooks:gate:{ACCOUNT}"
HOUR = 3600.0
#: What holds instants.
SETS = ("running", "published", "waiting")


@pytest.fixture
def store(store: JobStore, client: redis.Redis) -> JobStore:
    """It serves another account, too, which is paused and has a job in line."""
    store.accounts = (ACCOUNT, "acme")
    store.gate.pause("acme", reason="maintenance")
    job = replace(new_job("paused", not_before=store.clock() + 60), account="acme")
    store.add([job])
    client.zadd("webhooks:waiting", {job.id: store.clock() - 1})
    store.take_due(queued=0)
    return store


def hints(store: JobStore, times: int = 5) -> list[str]:
    return [job for _ in range(times) for job in store.take_due(queued=0).hints]


@pytest.mark.parametrize("seconds", [0.5, HOUR])
def test_what_is_due_is_found_though_the_look_before_was_later(
    store: JobStore, client: redis.Redis, seconds: float
) -> None:
    client.hset("webhooks:order", "until", f"{store.clock() + seconds:.3f}")
    job = add(store, not_before=store.clock() + 60)
    client.zadd("webhooks:waiting", {job: store.clock() - 0.001})
    assert hints(store) == [job]


def test_one_that_is_in_no_line_is_found_beside_a_line_that_waits(
    store: JobStore, client: redis.Redis
) -> None:
    job = add(store, not_before=store.clock() + 60)
    client.zadd("webhooks:waiting", {job: store.clock() - 5})
    assert eventually(lambda: hints(store), 5) == [job]


def test_a_dead_workers_job_and_a_lost_hint_do_not_wait_for_an_hour(
    store: JobStore, client: redis.Redis
) -> None:
    job, lost = add(store, "running"), add(store, "lost")
    claim(store, job)
    client.zadd("webhooks:running", {job: store.clock() + HOUR})
    client.zadd("webhooks:published", {lost: store.clock() + HOUR})
    store.take_due(queued=0)
    for place, one in (("running", job), ("published", lost)):
        assert client.zscore(f"webhooks:{place}", one) <= store.clock() + 10
        client.zadd(f"webhooks:{place}", {one: 1})
    assert {*hints(store)} == {job, lost}
    assert places(client, job) == ["published"]


class TestGate:
    def move_ahead(self, client: redis.Redis, now: float, seconds: float = HOUR) -> None:
        """As if the clock had been set back by so much since."""
        for name, value in client.hgetall(GATE).items():
            if name.endswith(("_at", "_until")) and float(value) > now - HOUR:
                client.hset(GATE, name, f"{float(value) + seconds:.6f}")

    def test_a_wait_that_an_answer_told_goes_on_as_it_was(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        record = claim(store, add(store))
        told = Told("limited", 5.0)
        store.reschedule(
            record,
            delay=0.0,
            error={"class": "RateLimited"},
            entry={"attempt": 1},
            outcome_unknown=False,
            uses_attempt=False,
            told=told,
        )
        self.move_ahead(client, store.clock())
        assert 4 < store.gate.look(ACCOUNT).again_in <= 5.1
        first = float(client.hget(GATE, "wait_until") or 0)
        store.gate.look(ACCOUNT)
        assert float(client.hget(GATE, "wait_until") or 0) == first

    @pytest.mark.parametrize("seconds", [5, 300, HOUR])
    def test_an_outage_is_asked_about_a_second_later(
        self, store: JobStore, client: redis.Redis, seconds: float
    ) -> None:
        now = store.clock()
        client.hset(GATE, mapping={"broken_at": now, "probe_at": now + 1, "down_at": now})
        self.move_ahead(client, now, seconds)
        assert store.gate.look(ACCOUNT).again_in <= 1
        assert float(client.hget(GATE, "probe_at") or 0) < store.clock() + 2

    def test_what_was_learnt_does_not_move_on_with_the_clock(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        now = store.clock()
        client.hset(
            GATE, mapping={"learnt_at": now + HOUR, "top": 20, "ramp_at": now + HOUR, "ramp_to": 9}
        )
        store.gate.look(ACCOUNT)
        assert float(client.hget(GATE, "learnt_at") or 0) < store.clock() + 1
        assert float(client.hget(GATE, "ramp_at") or 0) < store.clock() + 1
