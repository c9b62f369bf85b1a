"""One app's or one account's trouble is nobody else's: the gate within the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.accounts import DEFAULT as ACCOUNT
from tasks.gate import Limits, Told
from tasks.jobs import JobStore
from tasks.record import JobRecord, NewJob, job_id
from tests.integration.steps import add, claim, new_job

BAD, OK = Told("bad"), Told("ok")
#: 401, and 403.
SURE, UNSURE = Told("rejected"), Told("refused")
GATE = f"webhooks:gate:{ACCOUNT}"


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def back(store: JobStore, record: JobRecord, told: Told, *, delay: float = 60.0) -> Any:
    """The attempt failed; what its report closed."""
    is_account_wide = told.what in ("rejected", "refused")
    return store.reschedule(
        record,
        delay=delay,
        error={"class": "AccountRejected" if is_account_wide else "ApiUnavailable"},
        entry={"attempt": record.attempt, "at": record.started_at, "next_try_in": delay},
        outcome_unknown=False,
        uses_attempt=not is_account_wide,
        told=told,
    ).closed


def succeed(store: JobStore, record: JobRecord) -> None:
    assert store.finish(record, "SUCCESS", result={"id": record.webhook_id}, told=OK)


def run(store: JobStore, name: str, app: str, told: Told, **options: Any) -> Any:
    """A new job is let through at once, and ends so."""
    job = new_job(name, app=app, **options)
    store.add([job])
    assert store.take_due(queued=0).hints == [job.id]
    record = claim(store, job.id, token=name)
    return succeed(store, record) if told is OK else back(store, record, told)


def is_kept_out(store: JobStore, *jobs: NewJob) -> bool:
    """Whether none of these new jobs is let into the pipe."""
    store.add(jobs)
    return not {job.id for job in jobs}.intersection(store.take_due(queued=0).hints)


class TestRefused:
    def test_a_refused_app_holds_up_no_other(self, store: JobStore) -> None:
        run(store, "p", "poison", UNSURE)
        assert store.gate.look(ACCOUNT).only_app == "poison"
        run(store, "a", "good", OK)

        assert store.gate.look(ACCOUNT).closed == ""

    def test_a_refusal_beside_successes_is_the_jobs_own(self, store: JobStore) -> None:
        job = new_job("p", app="poison")
        run(store, "p", "poison", UNSURE)
        run(store, "a", "good", OK)
        store.retry([job.id], how="once")

        again = claim_when_due(store, job.id)

        assert again.refused_alone
        assert back(store, again, Told("own")) is None
        assert store.gate.look(ACCOUNT).closed == ""
        # Until another call succeeds, nobody knows whether the next refusal is its own, too.
        assert not claim_when_due(store, job.id).refused_alone

    def test_a_second_app_makes_it_the_accounts_trouble(self, store: JobStore) -> None:
        assert run(store, "a", "one", UNSURE) is None
        assert run(store, "b", "two", UNSURE) == "rejected"
        assert is_kept_out(store, new_job("c", app="three"))
        assert store.gate.look(ACCOUNT).only_app is None

    def test_refused_credentials_are_told_at_once_and_once(self, store: JobStore) -> None:
        assert run(store, "a", "one", SURE) == "rejected"
        assert run(store, "b", "two", SURE) is None
        assert is_kept_out(store, new_job("c", app="three"))

    def test_one_app_that_is_refused_again_and_again_is_told_once(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        told = []
        for number in range(4):
            told.append(run(store, f"p{number}", "poison", SURE))
            run(store, f"a{number}", "good", OK)
        assert told == ["rejected", None, None, None]

    def test_a_lonely_app_is_told_when_it_is_refused_again(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = new_job("p", app="only")
        assert run(store, "p", "only", UNSURE) is None
        client.hset(GATE, "probe_at", 0)
        assert back(store, claim_when_due(store, job.id), UNSURE) == "rejected"

    def test_another_job_of_the_refused_app_is_tried_at_once(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        run(store, "p", "shop", UNSURE)
        good = [new_job(f"good{number}", app="shop") for number in range(5)]
        store.add(good)
        refused = new_job("p", app="shop")
        client.zadd("webhooks:waiting", {job.id: store.clock() - 5 for job in [*good, refused]})
        client.hdel("webhooks:order", "until")  # all of them are lined up
        [probe] = store.take_due(queued=0).hints
        assert probe != refused.id
        succeed(store, claim(store, probe, token="g"))
        assert store.gate.look(ACCOUNT).closed == ""
        assert claim_when_due(store, refused.id).refused_alone

    def test_but_one_alone_until_the_app_is_to_be_tried_anew(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        run(store, "p", "shop", UNSURE)
        others = [new_job(f"o{number}", app="shop") for number in range(5)]
        store.add(others)
        tried = []
        for _ in range(5):
            client.zadd("webhooks:waiting", {job.id: store.clock() for job in others}, xx=True)
            client.hset("webhooks:order", "until", store.clock() - 1)
            tried += store.take_due(queued=0).hints
        assert len(tried) == 1
        # Both may be their own trouble: people are told when the app is tried anew.
        assert back(store, claim(store, tried[0], token="o"), UNSURE) is None
        client.zadd("webhooks:waiting", {job.id: store.clock() for job in others}, xx=True)
        client.hset("webhooks:order", "until", store.clock() - 1)
        assert store.take_due(queued=0).hints == []
        client.hset(GATE, "probe_at", store.clock())
        client.zadd("webhooks:waiting", {job.id: store.clock() for job in others}, xx=True)
        client.hset("webhooks:order", "until", store.clock() - 1)
        [anew] = store.take_due(queued=0).hints
        assert back(store, claim(store, anew, token="a"), UNSURE) == "rejected"

    def test_a_person_who_resumes_has_it_tried_at_once(self, store: JobStore) -> None:
        job = new_job("p", app="poison")
        run(store, "p", "poison", UNSURE)
        assert store.claim(job.id, worker="w", token="t") is None
        assert store.gate.resume(ACCOUNT) == "rejected"
        assert store.take_due(queued=0).hints == [job.id]

    def test_an_alarm_whose_answer_was_lost_is_passed_on(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        job = new_job("p", app="poison")
        assert run(store, "p", "poison", SURE) == "rejected"
        assert store.gate.untold(ACCOUNT) is None  # its attempt has 15 s for it
        assert client.hset(GATE, "alarm_due", 0) == 0  # it was there
        assert store.gate.untold(ACCOUNT) == job.id
        assert store.gate.untold(ACCOUNT) is None
        store.gate.told(ACCOUNT, "another")
        assert "alarm_due" in store.gate.look(ACCOUNT).fields
        store.gate.told(ACCOUNT, job.id)
        assert "alarm_due" not in store.gate.look(ACCOUNT).fields


class TestAway:
    def test_one_apps_failures_close_nothing_for_others(self, store: JobStore) -> None:
        closed = [run(store, f"b{n}", "broken", BAD) for n in range(8)]
        assert [what for what in closed if what] == ["unavailable"]
        assert is_kept_out(store, new_job("b8", app="broken"))
        assert store.gate.look(ACCOUNT).only_app == "broken"

        run(store, "a", "good", OK)

        assert store.gate.look(ACCOUNT).closed == ""

    def test_the_failures_of_others_beside_it_close_the_gate(self, store: JobStore) -> None:
        for number in range(8):
            run(store, f"b{number}", "broken", BAD)
        assert run(store, "c", "one", BAD) is None
        assert run(store, "d", "two", BAD) == "unavailable"
        assert is_kept_out(store, new_job("e", app="three"))

    @pytest.mark.parametrize("bulk", [0, 20, 40])
    def test_its_backlog_is_not_before_others_and_one_of_it_probes(
        self, store: JobStore, client: redis.Redis, bulk: int
    ) -> None:
        kinds = ["bulk"] * bulk + ["interactive"] * (40 - bulk)
        waiting = [new_job(f"w{n}", app="broken", priority=k) for n, k in enumerate(kinds)]
        store.gate.pause(ACCOUNT, reason="")
        store.add(waiting)
        store.gate.resume(ACCOUNT)
        client.hset(GATE, mapping=closed_for("broken", store))
        good = new_job("good", app="good", priority=kinds[0])
        store.add([good])

        hints = [job for _ in range(8) for job in store.take_due(queued=0).hints]
        assert hints == [good.id]

        client.hset(GATE, "probe_at", 0)
        client.hset("webhooks:order", "until", 0)
        for job in waiting:
            client.zadd("webhooks:waiting", {job.id: store.clock()})
        hints = [job for _ in range(8) for job in store.take_due(queued=1).hints]
        assert len(hints) == 1

    def test_a_probe_is_of_any_tenant(self, store: JobStore, client: redis.Redis) -> None:
        store.gate.pause(ACCOUNT, reason="")
        many = [new_job(f"b{n}", app="broken", priority="bulk") for n in range(90)]
        store.add([*many, new_job("g", app="good", priority="bulk")])
        store.gate.resume(ACCOUNT)
        drawn = 0
        for number in range(40):
            client.hset(GATE, mapping=closed_for(None, store) | {"probe_at": 0})
            [probe] = store.take_due(queued=0).hints
            record = claim(store, probe, token=f"t{number}")
            drawn += record.app_id == "good"
            back(store, record, BAD)
        # Every second one; of any job it would be one of 91.
        assert drawn >= 8


class TestAccounts:
    def test_the_bulk_jobs_of_one_leave_room_for_anothers(self, redis_server: str) -> None:
        accounts = (ACCOUNT, "acme")
        store = JobStore(
            SecretStr(redis_server), pipe_size=256, result_ttl=60, patience=1.0, accounts=accounts
        )
        store.gate.pause("acme", reason="")
        store.add([new_job(f"d{n}", app=f"app-{n}", priority="bulk") for n in range(400)])
        store.add([of_account("acme", f"a{n}", priority="bulk") for n in range(5)])
        store.gate.resume("acme")
        hints = store.take_due(queued=store.counts()["published"]).hints
        assert sum(store.get(job).account == "acme" for job in hints) == 5

    @pytest.mark.parametrize("first", [0, 1])
    def test_one_free_place_is_not_always_the_firsts(self, redis_server: str, first: int) -> None:
        accounts = (ACCOUNT, "acme")
        store = JobStore(
            SecretStr(redis_server),
            pipe_size=1,
            result_ttl=60,
            patience=1.0,
            accounts=accounts[first:] + accounts[:first],
        )
        for account in accounts:
            store.gate.pause(account, reason="")
            store.add([of_account(account, f"{n}") for n in range(10)])
        for account in accounts:
            store.gate.resume(account)
        served = []
        for number in range(10):
            for job in store.take_due(queued=0).hints:
                record = claim(store, job, token=f"t{number}")
                served.append(record.account)
                succeed(store, record)
        assert served.count("acme") >= 4


class TestLines:
    def test_new_interactive_jobs_go_behind_those_in_line(self, redis_server: str) -> None:
        store = JobStore(SecretStr(redis_server), pipe_size=2, result_ttl=60, patience=1.0)
        store.add([new_job(f"{n}") for n in range(4)])
        for job in store.take_due(queued=0).hints:
            succeed(store, claim(store, job))
        store.add([new_job("late")])
        hints = store.take_due(queued=0).hints
        assert hints == [new_job("2").id, new_job("3").id]

    def test_a_tenant_does_not_pay_for_jobs_that_were_cancelled(self, store: JobStore) -> None:
        store.gate.pause(ACCOUNT, reason="")
        cancelled = [new_job(f"c{n}", app="a", priority="bulk") for n in range(100)]
        store.add(cancelled)
        for job in cancelled:
            store.cancel(job.id)
        store.add([new_job(f"b{n}", app="b", priority="bulk") for n in range(60)])
        store.add([new_job(f"a{n}", app="a", priority="bulk") for n in range(5)])
        store.gate.resume(ACCOUNT)
        order: list[str] = []
        while len(order) < 65:
            for job in store.take_due(queued=0).hints:
                record = claim(store, job, token=job)
                order.append(record.app_id)
                succeed(store, record)
        assert max(n for n, app in enumerate(order) if app == "a") < 45


class TestClock:
    def test_a_clock_that_was_set_back_stops_nothing(
        self, redis_server: str, client: redis.Redis
    ) -> None:
        limits = Limits(rate=50.0)
        store = JobStore(
            SecretStr(redis_server), pipe_size=8, result_ttl=60, patience=1.0, limits=limits
        )
        later = store.clock() + 3600
        fields = {"turn": later, "learnt_at": later, "top": 20, "ok_at": later, "open_at": later}
        client.hset(GATE, mapping=fields | {"second": int(later), "count": 5, "last": 5})
        assert claim(store, add(store)).turn_in < 1
        assert (store.gate.look(ACCOUNT).allowed or 0) > 1

    @pytest.mark.parametrize("field", ["wait_until", "probe_at"])
    def test_no_wait_is_longer_than_ten_minutes(
        self, store: JobStore, client: redis.Redis, field: str
    ) -> None:
        later = store.clock() + 3600
        away = {"broken_at": 1} if field == "probe_at" else {}
        client.hset(GATE, mapping={field: later, **away})
        assert store.gate.look(ACCOUNT).again_in <= 600


def test_a_claim_that_is_asked_again_says_the_same_of_the_gate(
    store: JobStore, client: redis.Redis
) -> None:
    job = add(store)
    back(store, claim(store, job), Told(), delay=0.0)
    client.hset(GATE, mapping={"down": 710})
    client.hset(f"webhooks:job:{job}", "closed_before", 0)
    first = claim(store, job, token="again")
    assert claim(store, job, token="again").closed_for == pytest.approx(first.closed_for)
    assert first.closed_for == pytest.approx(710)


def claim_when_due(store: JobStore, job: str) -> JobRecord:
    """Let its time have come, and the dispatchers take it."""
    client = store._redis
    client.zadd("webhooks:waiting", {job: 1})
    return claim(store, job, token="again")


def closed_for(app: str | None, store: JobStore) -> dict[str, Any]:
    only = {"only": f"app {app}"} if app else {}
    return {"broken_at": store.clock(), "probe_at": store.clock() + 30, **only}


def of_account(account: str, name: str, **options: Any) -> NewJob:
    job = new_job(name, **options)
    return replace(job, account=account, id=job_id(account, job.app_id, name))


class TestResume:
    def test_a_job_that_was_taken_up_for_later_is_not_tried_at_once(self, store: JobStore) -> None:
        job = add(store)
        back(store, claim(store, job), SURE)
        store.cancel(job)
        store.retry([job], how="fresh", due=store.clock() + 86_400)
        store.gate.resume(ACCOUNT)
        assert store.take_due(queued=0).hints == []
        assert (store.get(job).due_at or 0) > store.clock() + 80_000


class TestAlarms:
    def test_who_succeeded_since_and_is_refused_again_is_news(
        self, store: JobStore, client: redis.Redis
    ) -> None:
        assert run(store, "a", "shop", SURE) == "rejected"
        run(store, "b", "other", OK)
        for number in range(3):
            second = int(store.clock())
            client.hset(GATE, mapping={"second": second, "count": 1, "last": 0})
            run(store, f"ok{number}", "shop", OK)
        assert run(store, "again", "shop", SURE) == "rejected"
