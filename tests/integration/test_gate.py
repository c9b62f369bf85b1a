"""The gate within the steps: which jobs it lets into the pipe and through, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.accounts import DEFAULT as ACCOUNT
from tasks.gate import Limits, Told
from tasks.jobs import JobStore
from tasks.rate_headers import Announced
from tasks.record import JobRecord, More
from tests.conftest import eventually
from tests.integration.steps import add, claim, new_job, places

BAD, REJECTED, OK = Told("bad"), Told("rejected"), Told("ok")


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


@pytest.fixture
def limited(redis_server: str) -> Callable[[float], JobStore]:
    """A store whose settings allow so many calls a second."""

    def store_with(rate: float) -> JobStore:
        options = {"pipe_size": 8, "result_ttl": 60, "patience": 1.0}
        return JobStore(SecretStr(redis_server), limits=Limits(rate=rate), **options)  # type: ignore[arg-type]

    return store_with


def back(store: JobStore, record: JobRecord, told: Told, *, account_wide: bool = False) -> Any:
    return store.reschedule(
        record,
        delay=60,
        error={"class": "ApiUnavailable"},
        entry={"attempt": record.attempt, "at": record.started_at, "next_try_in": 60.0},
        outcome_unknown=False,
        uses_attempt=not account_wide,
        told=told,
    )


def break_api(store: JobStore) -> list[str | None]:
    """Jobs fail until the API counts as away; what each report closed."""
    jobs = [add(store, f"bad-{n}", app=f"bad-app-{n}") for n in range(8)]
    records = [claim(store, job, token=f"b{n}") for n, job in enumerate(jobs)]
    return [back(store, record, BAD).closed for record in records]


class TestPaused:
    def test_no_job_is_let_in_or_through(self, store: JobStore, client: redis.Redis) -> None:
        job = add(store, "before")
        store.gate.pause(ACCOUNT, reason="maintenance")
        add(store, "meanwhile")
        assert store.take_due(queued=0).hints == []
        assert store.claim(job, worker="w1", token="t1") is None
        assert places(client, job) == ["waiting"]
        due = store.take_due(queued=0)
        assert due.hints == []
        assert due.next_due == float("inf")
        assert store.get(job).attempt == 0

    def test_a_dispatcher_is_woken_when_it_is_resumed(self, store: JobStore) -> None:
        store.gate.pause(ACCOUNT, reason="maintenance")
        assert not store.wait_for_due(0.01)
        store.gate.resume(ACCOUNT)
        assert store.wait_for_due(1)

    def test_all_goes_on_in_its_order_when_resumed(self, store: JobStore) -> None:
        first = add(store, "first")
        store.gate.pause(ACCOUNT, reason="maintenance")
        store.claim(first, worker="w1", token="t1")
        second = add(store, "second")
        assert store.gate.resume(ACCOUNT) == "paused"
        assert store.take_due(queued=0).hints == [first, second]
        assert claim(store, first).state == "STARTED"
        assert store.gate.resume(ACCOUNT) == ""

    def test_a_pause_ends_by_itself(self, store: JobStore) -> None:
        job = add(store)
        store.gate.pause(ACCOUNT, reason="", until=store.clock() + 0.3)
        assert store.claim(job, worker="w1", token="t1") is None
        assert 0 < (store.take_due(queued=0).next_due or 0) <= 0.3
        assert eventually(lambda: store.claim(job, worker="w1", token="t1"))

    def test_it_shows_since_when_and_why(self, store: JobStore) -> None:
        store.gate.pause(ACCOUNT, reason="maintenance", until=store.clock() + 60)
        state = store.gate.look(ACCOUNT)
        assert (state.closed, state.fields["paused_why"]) == ("paused", "maintenance")
        assert state.since == pytest.approx(state.now, abs=2)
        assert state.again_in == pytest.approx(60, abs=2)

    def test_a_job_is_no_older_for_it(self, store: JobStore) -> None:
        pausing, job = 0.3, add(store)
        record = claim(store, job)
        store.gate.pause(ACCOUNT, reason="", until=store.clock() + pausing)
        back(store, record, Told(), account_wide=True)
        store.cancel(job)
        store.retry([job], how="fresh")
        later = add(store, "later")
        again = eventually(lambda: store.claim(job, worker="w1", token="t2"))
        assert again.closed_for == pytest.approx(0, abs=0.001)
        assert again.age == pytest.approx(0, abs=0.001)
        record = eventually(lambda: store.claim(later, worker="w1", token="t3"))
        store.gate.pause(ACCOUNT, reason="", until=store.clock() + pausing)
        store.reschedule(
            record, delay=0, error={}, entry={}, outcome_unknown=False, uses_attempt=True
        )
        again = eventually(lambda: store.claim(later, worker="w1", token="t4"))
        assert pausing - 0.05 <= again.closed_for <= again.started_at - record.started_at + 0.01
        assert again.age < 0.2


def test_one_that_nobody_needs_any_more_takes_no_turn(store: JobStore) -> None:
    job = new_job("late", expires_at=store.clock() - 1)
    store.add([job])
    store.gate.pause(ACCOUNT, reason="maintenance")
    assert claim(store, job.id).turn_in == 0
    assert store.claim(add(store), worker="w", token="t") is None


def test_every_call_of_an_attempt_counts(store: JobStore) -> None:
    """What a 429 teaches is calls a second: a webhook with its triggers takes two."""
    for number in range(8):
        record = claim(store, add(store, f"{number}"), token=f"{number}")
        store.finish(record, "SUCCESS", result={"id": "x"}, told=OK._replace(answered=3))
    fields = store.gate.look(ACCOUNT).fields
    assert float(fields["count"]) + float(fields.get("last", 0)) == 24
    # Of one that failed at its third, two went through.
    back(store, claim(store, add(store, "9"), token="9"), Told("limited", answered=3))
    fields = store.gate.look(ACCOUNT).fields
    assert float(fields["count"]) + float(fields.get("last", 0)) == 26


def test_what_was_under_way_when_a_limit_was_met_went_through(
    store: JobStore, client: redis.Redis
) -> None:
    records = [claim(store, add(store, f"w{n}"), token=str(n)) for n in range(30)]

    def succeed(some: list[JobRecord]) -> None:
        for record in some:
            assert store.finish(record, "SUCCESS", result={"id": "a"}, told=Told("ok"))

    eventually(lambda: store.clock() % 1 < 0.3)  # all of it in one second
    succeed(records[:20])
    back(store, records[20], Told("limited", 1.0))
    top = f"webhooks:gate:{ACCOUNT}", "top"
    before = float(client.hget(*top) or 0)
    succeed(records[21:])
    assert float(client.hget(*top) or 0) == pytest.approx(before * 29 / 20)


def test_a_report_that_is_repeated_is_heard_once(store: JobStore, client: redis.Redis) -> None:
    eventually(lambda: store.clock() % 1 < 0.5)  # all of it in one second
    record = claim(store, add(store))
    for _ in range(2):
        assert store.finish(record, "SUCCESS", result={"id": "a"}, told=Told("ok"))
    assert float(client.hget(f"webhooks:gate:{ACCOUNT}", "count") or 0) == 1


class TestRate:
    def test_turns_are_evenly_apart(self, limited: Callable[[float], JobStore]) -> None:
        store = limited(20)
        jobs = [add(store, f"{n}") for n in range(6)]
        began = store.clock()
        records = [claim(store, job, token=f"{n}") for n, job in enumerate(jobs)]
        turns = [r.started_at - began + r.turn_in for r in records]
        # The first makes up for a moment that was not used.
        assert all(b - a >= 0.045 for a, b in pairwise(turns[1:]))
        assert turns[-1] <= 0.35

    def test_the_pipe_has_no_more_than_may_call_soon(
        self, limited: Callable[[float], JobStore]
    ) -> None:
        store = limited(12)
        store.add([new_job(f"{n}", priority="bulk") for n in range(5)])
        assert len(store.take_due(queued=0).hints) == 3
        assert store.take_due(queued=3).hints == []
        # There is always a little room for those for whom a person waits.
        store.add([new_job(f"soon-{n}") for n in range(5)])
        assert len(store.take_due(queued=3).hints) == 3

    def test_a_further_call_has_its_turn_and_others_wait_for_it(
        self, limited: Callable[[float], JobStore]
    ) -> None:
        store = limited(0.5)
        job, other = add(store), add(store, "other")
        record = claim(store, job)
        assert store.gate.ask(record, lease=6, obeys=True)[0] <= 0.5
        assert store.claim(other, worker="w1", token="t2") is None
        assert 3 < (store.take_due(queued=0).next_due or 0) < 4

    def test_it_shows_what_is_allowed_and_used(self, limited: Callable[[float], JobStore]) -> None:
        store = limited(50)
        announced = Announced(limit=10, left=9, reset=1, ends=1_000)
        record = claim(store, add(store))
        told = OK._replace(announced=announced)
        store.finish(record, "SUCCESS", result={"id": "orders"}, told=told)
        state = store.gate.look(ACCOUNT)
        assert state.allowed == pytest.approx(0.975 * 10, abs=0.5)
        assert state.closed == ""
        assert eventually(lambda: store.gate.look(ACCOUNT).used) == 1


class TestRejected:
    def test_the_first_closes_the_gate(self, store: JobStore, client: redis.Redis) -> None:
        jobs = [add(store, f"{n}") for n in range(3)]
        first, second = claim(store, jobs[0]), claim(store, jobs[1], token="t2")
        assert back(store, first, REJECTED, account_wide=True).closed == "rejected"
        assert back(store, second, REJECTED, account_wide=True).closed is None
        assert store.claim(jobs[2], worker="w1", token="t3") is None
        assert store.gate.look(ACCOUNT).again_in == pytest.approx(30, abs=1)
        record = store.get(jobs[0])
        assert record.attempts == 0
        assert "next_try_in" not in record.history[-1]
        # Other jobs of its app may be tried before it.
        assert record.due_at == pytest.approx(store.clock() + 5, abs=1)

    def test_one_beside_successes_is_its_own_trouble(self, store: JobStore) -> None:
        first, second = add(store, "1"), add(store, "2")
        refused, fine = claim(store, first), claim(store, second, token="t2")
        store.finish(fine, "SUCCESS", result={"id": "2"}, told=OK)
        # Its call was let through before the other's had succeeded.
        early = REJECTED._replace(ago=5.0)
        assert back(store, refused, early, account_wide=True).closed is None
        assert store.gate.look(ACCOUNT).closed == ""
        assert store.get(first).history[-1]["next_try_in"] == 60

    def test_one_after_successes_is_the_accounts(self, store: JobStore) -> None:
        first, second = add(store, "1"), add(store, "2")
        refused, fine = claim(store, first), claim(store, second, token="t2")
        store.finish(fine, "SUCCESS", result={"id": "2"}, told=OK)
        # It was claimed before the other succeeded, and had its turn later.
        late = REJECTED._replace(ago=0.0)
        assert back(store, refused, late, account_wide=True).closed == "rejected"

    def test_a_person_opens_it(self, store: JobStore) -> None:
        job = add(store)
        back(store, claim(store, job), REJECTED, account_wide=True)
        assert store.gate.resume(ACCOUNT) == "rejected"
        assert claim(store, job, token="t2")


class TestAway:
    def test_so_many_failures_close_the_gate_once(self, store: JobStore) -> None:
        record = claim(store, add(store, "other", app="other"), token="o")
        assert [what for what in break_api(store) if what] == ["unavailable"]
        assert store.gate.ask(record, lease=6, obeys=True) == (-1, "unavailable")

    def test_one_probe_is_let_into_the_pipe_and_through(self, store: JobStore) -> None:
        jobs = [add(store, f"{n}") for n in range(4)]
        for job in jobs:
            store.cancel(job)
        break_api(store)
        store.retry(jobs, how="fresh")
        assert store.take_due(queued=0).hints == []
        [probe] = eventually(lambda: store.take_due(queued=0).hints, 3)
        assert store.take_due(queued=1).hints == []
        record = claim(store, probe, token="p")
        assert store.claim(jobs[-1], worker="w1", token="t") is None
        followed = back(store, record, BAD)
        assert (followed.state, followed.closed) == ("RETRY", None)
        after = store.get(probe)
        assert after.attempts == 0
        assert after.due_at == pytest.approx(store.clock(), abs=1)

    @pytest.mark.parametrize("priority", ["interactive", "bulk"])
    def test_jobs_that_break_the_api_are_not_all_that_is_tried(
        self, store: JobStore, client: redis.Redis, priority: Any
    ) -> None:
        break_api(store)
        jobs = [replace(new_job(f"good-{n}"), more=More(priority=priority)) for n in range(8)]
        good = [one.record.id for one in store.add(jobs)[0]]
        for number in range(300):
            client.hset(f"webhooks:gate:{ACCOUNT}", "probe_at", 0)  # its second is over
            [probe] = store.take_due(queued=0).hints
            if probe in good:
                break
            back(store, claim(store, probe, token=f"p{number}"), BAD)
        assert probe in good
        record = claim(store, probe, token="g")
        store.finish(record, "SUCCESS", told=OK)
        assert store.gate.look(ACCOUNT).closed == ""

    def test_a_jobs_own_failure_waits_as_ever(self, store: JobStore) -> None:
        job = add(store)
        back(store, claim(store, job), BAD)
        record = store.get(job)
        assert (record.attempts, record.history[-1]["next_try_in"]) == (1, 60)

    def test_beside_a_pause_it_is_still_its_own(self, store: JobStore) -> None:
        record = claim(store, add(store))
        store.gate.pause(ACCOUNT, reason="")
        back(store, record, BAD)
        assert store.get(record.id).attempts == 1

    def test_a_success_opens_it(self, store: JobStore) -> None:
        late = claim(store, add(store, "late"), token="late")
        break_api(store)
        store.finish(late, "SUCCESS", result={"id": "late"}, told=OK)
        assert store.gate.look(ACCOUNT).closed == ""


class TestLimited:
    """Two 429s, as what the first one told to wait was too short; the next turns have come."""

    @pytest.fixture
    def jobs(self, store: JobStore, client: redis.Redis) -> list[str]:
        jobs = [add(store, f"{n}") for n in range(8)]
        store.finish(claim(store, jobs[0]), "SUCCESS", told=OK)
        for job in jobs[1:3]:
            back(store, claim(store, job), Told("limited", wait=1), account_wide=True)
            self.let_turns_come(store, client)
        return jobs[3:]

    def let_turns_come(self, store: JobStore, client: redis.Redis) -> None:
        gate = f"webhooks:gate:{ACCOUNT}"
        client.hset(gate, mapping={"turn": store.clock() - 1, "wait_until": 0})

    def test_after_one_alone_all_go_on(self, store: JobStore, client: redis.Redis) -> None:
        jobs = [add(store, f"{n}") for n in range(4)]
        store.finish(claim(store, jobs[0]), "SUCCESS", told=OK)
        back(store, claim(store, jobs[1]), Told("limited", wait=1), account_wide=True)
        self.let_turns_come(store, client)
        assert claim(store, jobs[2]) and claim(store, jobs[3])

    def test_a_call_that_had_not_waited_says_nothing(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        """It had its turn when the limit was met, and was made a moment later."""
        jobs = [add(store, f"{n}") for n in range(4)]
        records = [claim(store, job) for job in jobs]
        store.finish(records[0], "SUCCESS", told=OK)
        for record in records[1:3]:
            back(store, record, Told("limited", wait=60), account_wide=True)
        assert client.hget(f"webhooks:gate:{ACCOUNT}", "short") is None

    def test_one_call_tries_it_until_one_goes_through(
        self, store: JobStore, client: redis.Redis, jobs: list[str]
    ) -> None:
        first = claim(store, jobs[0])
        turn = float(client.hget(f"webhooks:gate:{ACCOUNT}", "turn") or 0)
        assert turn == pytest.approx((first.started_at or 0) + 0.2, abs=0.01)
        assert store.claim(jobs[1], worker="w", token="t") is None
        assert store.take_due(queued=0).hints == []
        self.let_turns_come(store, client)
        claim(store, jobs[2])  # the first takes its time
        store.finish(first, "SUCCESS", told=OK)
        assert float(client.hget(f"webhooks:gate:{ACCOUNT}", "turn") or 0) <= store.clock()
        assert claim(store, jobs[3])

    def test_a_success_from_before_is_no_sign(
        self, store: JobStore, client: redis.Redis, jobs: list[str]
    ) -> None:
        record = claim(store, jobs[0])
        assert store.finish(record, "SUCCESS", told=Told("ok", ago=60))
        self.let_turns_come(store, client)
        claim(store, jobs[1])
        assert store.claim(jobs[2], worker="w", token="t") is None

    def test_another_429_in_the_same_second_lets_all_wait(
        self, store: JobStore, client: redis.Redis, jobs: list[str]
    ) -> None:
        record = claim(store, jobs[0])
        client.hset(f"webhooks:gate:{ACCOUNT}", "ok_at", store.clock())  # of a call beside it
        self.let_turns_come(store, client)
        back(store, record, Told("limited"), account_wide=True)
        assert float(client.hget(f"webhooks:gate:{ACCOUNT}", "turn") or 0) > store.clock() + 0.1

    def test_one_job_is_hinted_at(self, store: JobStore, client: redis.Redis) -> None:
        jobs = [add(store, f"{n}") for n in range(7)]
        store.finish(claim(store, jobs[6]), "SUCCESS", told=OK)
        record = claim(store, jobs[0])
        store.gate.pause(ACCOUNT, reason="")
        for job in jobs[1:6]:
            store.claim(job, worker="w", token="t")  # out of the pipe
        store.gate.resume(ACCOUNT)
        back(store, record, Told("limited", wait=1), account_wide=True)
        client.hset(f"webhooks:gate:{ACCOUNT}", "short", 1)
        self.let_turns_come(store, client)
        assert len(store.take_due(queued=0).hints) == 1
