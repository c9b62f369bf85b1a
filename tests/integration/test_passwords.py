"""Sealed passwords in Redis: where they are, who opens them, when they are erased."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.sealing_keys import new_pair
from tasks import (
    Job,
    JobConflict,
    SealingUnavailable,
    StepRefused,
    Webhook,
    enqueue_webhook,
    update_webhook,
)
from tasks.actions import cancel_job, forget_job, retry_job
from tasks.errors import PasswordUnreadable, RecordRefused
from tasks.jobs import JobStore
from tasks.passwords import open_password
from tasks.record import JobRecord
from tasks.repair import find_problems
from tasks.sealing import binding, get_sealer
from tests.conftest import FAST, use_environment
from tests.integration.commands import Run, run_fixture
from tests.sealed import opened
from worker.sandbox import SandboxControl
from worker.stack import Stack

PASSWORD = "hunter2hunter2"
run = run_fixture
KEYS = {"public": "SEALING_PUBLIC_KEY", "private": "SEALING_PRIVATE_KEYS"}
OLD, NEW = new_pair(), new_pair()

Keys = Callable[..., None]


@pytest.fixture
def keys(redis_server: str) -> Keys:
    """Gives this process these keys, and no others."""

    def give(**keys: list[SecretStr]) -> None:
        texts = {
            variable: ",".join(key.get_secret_value() for key in keys.get(kind, []))
            for kind, variable in KEYS.items()
        }
        use_environment({"REDIS_URL": redis_server, **texts})

    give(public=[NEW[0]], private=[NEW[1]])
    return give


@pytest.fixture
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server, decode_responses=True)


def orders(password: str = PASSWORD, **fields: Any) -> Webhook:
    known = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}
    return Webhook(**{**known, "username": "shop", "password": password, **fields})


def claim(store: JobStore, job: Job) -> JobRecord:
    record = store.claim(job.id, worker="w", token="t")
    assert record is not None
    return record


def end(store: JobStore, job: Job, state: Any) -> None:
    error = {"class": "PlanLimit", "message": "Full."} if state == "FAILURE" else None
    assert store.finish(claim(store, job), state, result={"id": "orders"}, error=error)


def sealed(client: redis.Redis, job: Job) -> str | None:
    return client.get(f"webhooks:sealed:{job.id}")  # type: ignore[no-any-return]


class TestWhereItIs:
    def test_it_is_a_key_of_its_own_that_the_claim_tells(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        assert "password" not in client.hgetall(f"webhooks:job:{job.id}")
        assert job.refresh().record.sealed_password is None
        record = claim(store, job)
        assert record.sealed_password == sealed(client, job)
        assert str(open_password(record)) == "**********"
        again = store.claim(job.id, worker="w", token="t")  # its answer was lost
        assert again is not None and again.sealed_password == record.sealed_password

    def test_a_producer_needs_the_public_half_alone(self, keys: Keys, store: JobStore) -> None:
        keys(public=[NEW[0]])
        job = enqueue_webhook("shop", orders())
        with pytest.raises(PasswordUnreadable, match="seal passwords and not open them"):
            opened(job.id)
        keys(private=[NEW[1]])
        assert opened(job.id) == PASSWORD

    def test_moved_to_another_job_it_does_not_open(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job, other = enqueue_webhook("shop", orders()), enqueue_webhook("thief", orders())
        client.set(f"webhooks:sealed:{other.id}", sealed(client, job) or "")
        with pytest.raises(PasswordUnreadable, match="another webhook, job or address"):
            open_password(claim(store, other))

    def test_with_another_address_it_does_not_open(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        changed = {**job.record.webhook, "webhookURL": "https://thief.example.com/"}
        client.hset(f"webhooks:job:{job.id}", "webhook", json.dumps(changed))
        with pytest.raises(PasswordUnreadable, match="find out who else writes to Redis") as told:
            open_password(claim(store, job))
        assert "retry" not in str(told.value), "it would fail again"

    def test_one_that_no_producer_takes_is_refused(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        bound_to = binding(
            account="default",
            app_id="shop",
            action="create",
            job_id=job.id,
            webhook=job.record.webhook,
        )
        theirs = get_sealer().seal(SecretStr("no password"), bound_to)
        client.set(f"webhooks:sealed:{job.id}", theirs)
        with pytest.raises(RecordRefused, match="is none that CometChat takes") as told:
            open_password(claim(store, job))
        assert "no password" not in str(told.value)

    def test_one_that_is_gone_ends_the_job_with_words_that_say_so(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        client.delete(f"webhooks:sealed:{job.id}")
        assert [one.kind for one in find_problems(repair=True)] == ["password lost"]
        with pytest.raises(PasswordUnreadable, match="is gone from Redis: forget the job"):
            open_password(claim(store, job))


class TestErased:
    @pytest.mark.parametrize(("state", "stays"), [("SUCCESS", False), ("FAILURE", True)])
    def test_when_the_job_has_ended(
        self, keys: Keys, store: JobStore, client: redis.Redis, state: str, stays: bool
    ) -> None:
        job = enqueue_webhook("shop", orders())
        end(store, job, state)
        assert bool(sealed(client, job)) == stays
        assert enqueue_webhook("shop", orders()).id == job.id, "it is known by its mark still"
        with pytest.raises(JobConflict, match="another password"):
            enqueue_webhook("shop", orders("another"))

    def test_of_a_failed_job_when_it_is_forgotten(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        end(store, job, "FAILURE")
        retry_job(job.id)
        assert opened(job.id) == PASSWORD
        client.hset(f"webhooks:job:{job.id}", "attempts", "0")
        end(store, job, "FAILURE")
        forget_job(job.id)
        assert list(client.scan_iter("webhooks:sealed:*")) == []

    def test_a_cancelled_job_is_not_taken_up_without_it(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        cancel_job(job.id)
        assert sealed(client, job) is None
        with pytest.raises(StepRefused, match="its password was erased when it was cancelled"):
            retry_job(job.id)
        assert job.refresh().state == "REVOKED"

    def test_what_is_left_over_is_found(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        end(store, job, "SUCCESS")
        store.told([job.id], "SUCCESS")
        for name in (job.id, "nobody"):
            client.set(f"webhooks:sealed:{name}", "x")
        kinds = {(one.job_id, one.kind) for one in find_problems(repair=True)}
        assert kinds == {(job.id, "password kept"), ("nobody", "no record")}
        assert list(client.scan_iter("webhooks:sealed:*")) == []
        assert list(find_problems()) == []


class TestCompared:
    def test_by_a_producer_that_cannot_open(self, keys: Keys, store: JobStore) -> None:
        keys(public=[NEW[0]])
        job = enqueue_webhook("shop", orders())
        assert enqueue_webhook("shop", orders()).id == job.id
        for other in (orders("another"), orders(username=None, password=None)):
            with pytest.raises(JobConflict, match="password"):
                enqueue_webhook("shop", other)

    def test_by_the_key_that_was_used_then(self, keys: Keys, store: JobStore) -> None:
        keys(public=[OLD[0]])
        job = enqueue_webhook("shop", orders())
        keys(public=[NEW[0], OLD[0]])
        assert enqueue_webhook("shop", orders()).id == job.id
        with pytest.raises(JobConflict, match="another password"):
            enqueue_webhook("shop", orders("another"))
        keys(public=[NEW[0]])
        with pytest.raises(SealingUnavailable, match=r"cannot be told.*\(new,old\)"):
            enqueue_webhook("shop", orders())

    def test_the_same_update_twice_is_one_job(self, keys: Keys, store: JobStore) -> None:
        changes = {"username": "shop", "password": PASSWORD}
        job = update_webhook("shop", "orders", changes)
        assert update_webhook("shop", "orders", changes).id == job.id
        other = update_webhook("shop", "orders", {**changes, "password": "another"})
        assert other.id != job.id
        assert (opened(job.id), opened(other.id)) == (PASSWORD, "another")


class TestReseal:
    def test_what_waits_and_what_failed_is_sealed_by_the_new_key(
        self, keys: Keys, store: JobStore, client: redis.Redis, run: Run
    ) -> None:
        keys(public=[OLD[0]])
        jobs = [enqueue_webhook("shop", orders(id=f"w{n}")) for n in range(4)]
        waiting, failed, running, done = jobs
        enqueue_webhook("shop", orders(id="none", username=None, password=None))
        end(store, failed, "FAILURE")
        end(store, done, "SUCCESS")
        claim(store, running)
        keys(private=[NEW[1], OLD[1]])
        said = run("reseal")
        assert (said.code, said.out) == (0, "3 resealed, 0 not\n")
        assert "1 ended jobs have passwords that key" in said.err
        keys(private=[NEW[1]])
        assert [opened(job.id) for job in (waiting, failed, running)] == [PASSWORD] * 3
        assert enqueue_webhook("shop", orders(id="w0")).id == waiting.id
        assert run("reseal", "--json").json["resealed"] == 0
        assert list(find_problems()) == []

    def test_one_whose_key_is_gone_is_named_and_stays(
        self, keys: Keys, store: JobStore, client: redis.Redis, run: Run
    ) -> None:
        keys(public=[OLD[0]])
        job = enqueue_webhook("shop", orders())
        before = sealed(client, job)
        keys(private=[NEW[1]])
        said = run("reseal")
        assert (said.code, said.out) == (1, "0 resealed, 1 not\n")
        assert f"webhook 'orders' of app 'shop' (job {job.id}): A password was sealed" in said.err
        assert sealed(client, job) == before

    def test_another_that_came_meanwhile_stays(
        self, keys: Keys, store: JobStore, client: redis.Redis
    ) -> None:
        job = enqueue_webhook("shop", orders())
        [before] = store.with_passwords([job.record])
        client.set(f"webhooks:sealed:{job.id}", "newer")
        assert not store.reseal(before, "x", "m")
        assert sealed(client, job) == "newer"


def test_a_job_whose_key_is_gone_fails_and_runs_when_the_key_is_back() -> None:
    with Stack(
        **FAST, SEALING_PUBLIC_KEY="", SEALING_PRIVATE_KEYS=NEW[1].get_secret_value()
    ) as stack:
        stack.start_redis()
        stack.start_sandbox()
        use_environment({**stack.env, "SEALING_PUBLIC_KEY": OLD[0].get_secret_value()})
        worker = stack.start_worker()
        job = enqueue_webhook("shop", orders()).wait(15)
        assert job.error is not None
        assert (job.state, job.error["class"]) == ("FAILURE", "PasswordUnreadable")
        assert "put that key back. Then retry the job." in job.error["message"]
        worker.stop()
        both = ",".join(half.get_secret_value() for _, half in (NEW, OLD))
        stack.start_worker("again", SEALING_PRIVATE_KEYS=both)
        retry_job(job.id)
        assert job.wait(15).state == "SUCCESS"
        [webhook] = SandboxControl(stack.env["COMETCHAT_BASE_URL"]).webhooks()
        assert webhook["username"] == "shop"
