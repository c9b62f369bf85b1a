"""The fence and the recheck within the steps."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.accounts import DEFAULT as ACCOUNT
from tasks.gate import Told
from tasks.jobs import JobStore
from tasks.record import JobRecord
from tests.integration.frozen import Worlds
from tests.integration.steps import add, claim, expire, places

OK = Told("ok")


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def ask(store: JobStore, record: JobRecord, *, obeys: bool = True) -> Any:
    return store.gate.ask(record, lease=60.0, obeys=obeys)


class TestFence:
    def test_it_prolongs_the_lease_of_the_attempt_that_asks(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        record = claim(store, add(store))
        expire(client, "running", record.id)
        assert store.holds(record) == "held"
        assert (client.zscore("webhooks:running", record.id) or 0) > store.clock() + 5
        assert ask(store, record) == (0.0, "")
        assert (client.zscore("webhooks:running", record.id) or 0) > store.clock() + 50

    @pytest.mark.parametrize("state", ["ended", "taken over", "waits"])
    def test_it_stops_who_has_lost_the_job(
        self, store: JobStore, client: redis.Redis, state: str
    ) -> None:
        record = claim(store, add(store))
        expire(client, "running", record.id)
        store.take_due(queued=0)
        if state != "waits":
            fresh = claim(store, record.id, token="t2")
            if state == "ended":
                store.finish(fresh, "SUCCESS", result={"id": "orders"}, told=OK)
        assert store.holds(record) == "lost"
        assert ask(store, record) == (-1.0, "lost")

    def test_a_cancellation_stops_the_first_change_alone(self, store: JobStore) -> None:
        record = claim(store, add(store))
        store.cancel(record.id)
        assert store.holds(record, obeys=True) == "cancelled"
        assert ask(store, record) == (-1.0, "cancelled")
        assert store.holds(record) == "held"
        assert ask(store, record, obeys=False) == (0.0, "")

    def test_who_has_lost_the_job_takes_no_turn(self, store: JobStore) -> None:
        record = claim(store, add(store))
        store.finish(record, "SUCCESS", result={"id": "orders"}, told=OK)
        before = store.gate.look(ACCOUNT).fields
        ask(store, record)
        assert store.gate.look(ACCOUNT).fields == before


class TestRecheck:
    @pytest.fixture
    def world(self, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Worlds:
        return Worlds(store, monkeypatch)

    def ended(self, store: JobStore, job: str) -> JobRecord:
        record = claim(store, job, token=job)
        assert store.finish(record, "SUCCESS", result={"id": "orders"}, told=OK)
        return record

    def test_the_only_job_of_a_webhook_needs_none(self, store: JobStore) -> None:
        assert store.recheck(self.ended(store, add(store))) is None

    def test_the_latest_runs_again_if_it_succeeded(
        self, store: JobStore, world: Worlds, client: redis.Redis
    ) -> None:
        first = self.ended(store, add(store))
        latest = self.ended(store, world.add("update", name="new"))
        assert store.recheck(first) == (latest.id, "again")
        assert places(client, latest.id) == ["waiting"]
        again = claim(store, latest.id, token="again")
        assert again.outcome_unknown
        assert client.ttl(f"webhooks:job:{latest.id}") == -1

    def test_one_that_waits_looks_first(self, store: JobStore, world: Worlds) -> None:
        first = self.ended(store, add(store))
        latest = world.add("update", name="new")
        assert store.recheck(first) == (latest, "looks")
        assert claim(store, latest).outcome_unknown

    def test_the_last_that_has_run_does_so_again_before_those_that_wait(
        self, store: JobStore, world: Worlds, client: redis.Redis
    ) -> None:
        first = self.ended(store, add(store))
        latest = self.ended(store, world.add("update", name="new"))
        behind, last = (world.add("update", name=name) for name in ("newer", "newest"))
        assert store.recheck(first) == (latest.id, "again")
        for job in (behind, last):
            expire(client, "waiting", job)
            assert store.claim(job, worker="w", token="b") is None
        assert client.hget(f"webhooks:chain:{first.id}", "latest") == last
        assert store.cancel(behind) and store.cancel(last)
        assert store.take_due(queued=0).hints == [latest.id]
        assert claim(store, latest.id, token="again").outcome_unknown

    def test_one_that_runs_does_so_once_more(
        self, store: JobStore, world: Worlds, client: redis.Redis
    ) -> None:
        first = self.ended(store, add(store))
        latest = claim(store, world.add("update", name="new"))
        assert store.recheck(first) == (latest.id, "again")
        assert store.finish(latest, "SUCCESS", result={"id": "orders"}, told=OK)
        assert (store.get(latest.id).state, places(client, latest.id)) == ("RETRY", ["waiting"])
        again = claim(store, latest.id, token="again")
        assert again.outcome_unknown
        assert store.finish(again, "SUCCESS", result={"id": "orders"}, told=OK)
        assert store.get(latest.id).state == "SUCCESS"

    def test_also_if_a_cancellation_came_too_late_for_it(
        self, store: JobStore, world: Worlds
    ) -> None:
        first = self.ended(store, add(store))
        latest = claim(store, world.add("update", name="new"))
        store.cancel(latest.id)
        assert store.finish(latest, "SUCCESS", result={"id": "orders"}, told=OK)
        assert store.recheck(first) == (latest.id, "again")
        assert store.holds(claim(store, latest.id, token="again")) == "held"

    def test_it_does_so_before_the_jobs_that_were_accepted_meanwhile(
        self, store: JobStore, world: Worlds, client: redis.Redis
    ) -> None:
        first = self.ended(store, add(store))
        latest = claim(store, world.add("update", name="new"))
        assert store.recheck(first) == (latest.id, "again")
        behind = world.add("update", name="newer")
        assert store.finish(latest, "SUCCESS", result={"id": "orders"}, told=OK)
        expire(client, "waiting", behind)
        assert store.claim(behind, worker="w", token="b") is None
        self.ended(store, latest.id)
        assert claim(store, behind, token="b").state == "STARTED"
        assert client.hget(f"webhooks:chain:{first.id}", "latest") == behind

    @pytest.mark.parametrize("why", ["it failed", "its password is erased", "its time is over"])
    def test_what_cannot_run_again_is_for_a_person(
        self, store: JobStore, world: Worlds, client: redis.Redis, why: str
    ) -> None:
        first = self.ended(store, add(store))
        record = claim(store, world.add("update", name="new"), token="l")
        if why == "it failed":
            assert store.finish(record, "FAILURE", error={"class": "PlanLimit"}, told=OK)
        else:
            assert store.finish(record, "SUCCESS", result={"id": "orders"}, told=OK)
            field = ("mark", "x") if "password" in why else ("expires_at", 1)
            client.hset(f"webhooks:job:{record.id}", *field)  # type: ignore[arg-type]
        assert store.recheck(first) == (record.id, "cannot")
        assert places(client, record.id) == (["failed"] if why == "it failed" else [])


class TestQuiet:
    """A call of a lost attempt may go on: the next job of its webhook waits until it cannot."""

    @pytest.fixture
    def store(self, redis_server: str) -> JobStore:
        options = {"pipe_size": 8, "result_ttl": 60, "patience": 1.0}
        return JobStore(SecretStr(redis_server), call_seconds=30, **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("how", ["lost", "handed back"])
    @pytest.mark.parametrize("asked", ["before", "after"])
    def test_the_next_job_waits_for_the_calls_of_a_lost_attempt(
        self, store: JobStore, client: redis.Redis, monkeypatch: Any, how: str, asked: str
    ) -> None:
        world = Worlds(store, monkeypatch)
        first = claim(store, add(store))
        following = world.add("update", name="new") if asked == "before" else None
        if how == "lost":
            expire(client, "running", first.id)
            store.take_due(queued=0)
        else:
            store.hand_back("w1", [first.id])
            expire(client, "waiting", first.id)
            store.take_due(queued=0)
        again = claim(store, first.id, token="again")  # it runs again at once

        assert store.finish(again, "SUCCESS", result={"id": "orders"}, told=OK)
        if following:  # who is woken by the end, not before that
            woken_at = client.zscore("webhooks:waiting", following) or 0
            assert 25 < woken_at - store.clock() <= 30
        following = following or world.add("update", name="new")

        assert store.claim(following, worker="w", token="t") is None
        due = client.zscore("webhooks:waiting", following) or 0
        assert 25 < due - store.clock() <= 30
        # Whatever wakes it too early.
        client.zadd("webhooks:waiting", {following: 1})
        assert store.claim(following, worker="w", token="t") is None
        client.hset(f"webhooks:job:{first.id}", "quiet_until", 1)
        client.zadd("webhooks:waiting", {following: 1})
        assert claim(store, following).id == following

    def test_a_job_whose_attempts_all_reported_holds_nobody(
        self, store: JobStore, monkeypatch: Any
    ) -> None:
        world = Worlds(store, monkeypatch)
        first = claim(store, add(store))
        following = world.add("update", name="new")
        assert store.finish(first, "SUCCESS", result={"id": "orders"}, told=OK)
        store.take_due(queued=0)
        assert claim(store, following).id == following
