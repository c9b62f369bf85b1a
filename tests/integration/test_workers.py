"""Workers and Redis that die, stop and come back, on processes of each test's own."""

from __future__ import annotations

import json
import signal
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from tasks import Webhook, enqueue_webhook, enqueue_webhooks, get_job
from tasks.slots import OF_A_WORKER
from tasks.store import get_store
from tests.chaos.proxy import Proxy
from tests.conftest import FAST, eventually, own_stack, use_environment
from worker.sandbox import RunningSandbox, SandboxControl
from worker.stack import HOST, Part, Stack

URL = "https://shop.example.com/hook"

pytestmark = pytest.mark.usefixtures("own")


def orders(number: int = 0) -> Webhook:
    return Webhook(id=f"orders-{number}", name="Orders", webhook_url=URL)


def ready(worker: Part) -> Part:
    worker.wait_for(lambda: " ready." in worker.output())
    return worker


@pytest.fixture
def own(lent_sandbox: RunningSandbox) -> Iterator[Stack]:
    """A stack of the test's own, without a worker yet."""
    with own_stack(lent_sandbox, **FAST, WORKER_SHUTDOWN_SECONDS="3") as stack:
        yield stack


@pytest.fixture
def sandbox(own: Stack) -> SandboxControl:
    return SandboxControl(own.env["COMETCHAT_BASE_URL"])


def assert_each_once(sandbox: SandboxControl, expected: int) -> None:
    kept = sandbox.webhooks()
    assert len({(one["app_id"], one["id"]) for one in kept}) == len(kept) == expected
    assert [one for one in kept if one["created_by_calls"] != 1] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_the_middle_of_a_call(own: Stack, sandbox: SandboxControl, when: str) -> None:
    worker = ready(own.start_worker())
    sandbox.faults({"kind": "hold", "operation": "create", "when": when, "times": 1})
    job = enqueue_webhook("shop", orders())
    sandbox.wait_for_held()
    worker.kill()
    killed = time.monotonic()
    ready(own.start_worker("second"))
    job.wait(20)
    assert time.monotonic() - killed < 20
    assert job.state == "SUCCESS"
    assert [entry["outcome"] for entry in job.history] == [
        "lost",
        "created" if when == "before" else "existed",
    ]
    sandbox.release()
    assert_each_once(sandbox, 1)


def test_what_a_stopping_worker_puts_back_the_next_one_reads(
    own: Stack, sandbox: SandboxControl
) -> None:
    worker = ready(own.start_worker("worker", "--concurrency", "8"))
    sandbox.settings(latency=0.3)
    jobs = [outcome.job for outcome in enqueue_webhooks((f"shop-{n}", orders()) for n in range(40))]
    eventually(lambda: len(sandbox.webhooks()) >= 4)
    assert worker.stop() == 0
    second = ready(own.start_worker("second", "--concurrency", "8"))
    for job in jobs:
        assert job is not None
        assert job.wait(20).state == "SUCCESS"
        assert len(job.history) == 1, job.history
    assert_each_once(sandbox, 40)
    assert "message dropped" not in second.output()


def test_a_lost_broker_is_told_in_a_line_and_costs_no_message(
    own: Stack, sandbox: SandboxControl
) -> None:
    assert own.redis is not None
    with Proxy(own.redis.port) as proxy:
        broker = f"redis://{HOST}:{proxy.port}/0"
        worker = ready(own.start_worker("worker", "-c", "2", CELERY_BROKER_URL=broker))
        sandbox.settings(latency=0.2)
        enqueue_webhooks(("shop", orders(n)) for n in range(12))
        eventually(lambda: len(sandbox.webhooks()) >= 2)
        proxy.cut()
        eventually(lambda: "Connection to broker lost" in worker.output(), 20)
        proxy.heal()
        eventually(lambda: len(sandbox.webhooks()) == 12, 20)
    assert_each_once(sandbox, 12)
    assert "message dropped" not in worker.output()
    assert "DeprecationWarning" not in worker.output()


def test_a_busy_worker_takes_few_connections(own: Stack, sandbox: SandboxControl) -> None:
    """It logs in as a user of its own, so that nobody else's are counted."""
    sandbox.settings(latency=0.05)
    most: list[str] = []

    def done() -> bool:
        nonlocal most
        of_worker = [one["cmd"] for one in client.client_list() if one["user"] == "busy"]
        most = max(most, of_worker, key=len)
        return len(sandbox.webhooks()) == 300

    with redis.Redis.from_url(own.env["REDIS_URL"]) as client:
        rights = {"commands": ["+@all"], "keys": ["*"], "channels": ["*"]}
        client.acl_setuser("busy", enabled=True, passwords=["+busy"], **rights)
        url = own.env["REDIS_URL"].replace("://", "://busy:busy@")
        ready(own.start_worker("worker", "--concurrency", "64", REDIS_URL=url))
        enqueue_webhooks((f"shop-{n}", orders()) for n in range(300))
        eventually(done, 60)
    assert 12 <= len(most) <= OF_A_WORKER, Counter(most)


def test_told_to_stop_it_finishes_what_runs(own: Stack, sandbox: SandboxControl) -> None:
    worker = ready(own.start_worker())
    sandbox.faults({"kind": "hold", "when": "before", "seconds": 1, "times": 1})
    job = enqueue_webhook("shop", orders())
    sandbox.wait_for_held()
    assert worker.stop() == 0
    assert job.refresh().state == "SUCCESS"


@pytest.mark.parametrize(
    ("signals", "least", "most"),
    [
        ([signal.SIGTERM], 2.5, 6),
        ([signal.SIGQUIT], 0, 2.5),
        ([signal.SIGTERM, signal.SIGQUIT], 0, 2.5),
    ],
    ids=["warm", "cold", "warm, then cold"],
)
def test_told_to_stop_it_hands_back_what_takes_too_long(
    own: Stack, sandbox: SandboxControl, signals: list[signal.Signals], least: float, most: float
) -> None:
    """Within the time that it has; in a cold stop, that is none."""
    patience = {"COMETCHAT_READ_TIMEOUT": "60"}
    worker = ready(own.start_worker(**patience))
    sandbox.faults({"kind": "hold", "when": "after", "times": 1, "operation": "create"})
    job = enqueue_webhook("shop", orders())
    sandbox.wait_for_held()
    said = len(worker.output())
    told = time.monotonic()
    for number, one in enumerate(signals):
        # Celery's handler of the second is there once it has said so of the first.
        eventually(lambda: worker.output()[said:].count("shutdown") >= number)  # noqa: B023
        worker.process.send_signal(one)
    assert worker.process.wait(20) == 0
    assert least < time.monotonic() - told < most
    assert "Error" not in worker.output()[said:]
    assert job.refresh().state == "RETRY"
    assert job.record.outcome_unknown
    assert job.history[-1]["outcome"] == "handed back"
    ready(own.start_worker("second"))
    assert job.wait(10).state == "SUCCESS"
    assert_each_once(sandbox, 1)


def test_a_frozen_workers_stale_attempt_changes_nothing(
    own: Stack, sandbox: SandboxControl
) -> None:
    frozen = ready(own.start_worker("frozen"))
    sandbox.faults({"kind": "hold", "when": "after", "operation": "create", "times": 1})
    job = enqueue_webhook("shop", orders())
    sandbox.wait_for_held()
    frozen.signal(signal.SIGSTOP)
    ready(own.start_worker("second"))
    result = job.wait(20).result
    sandbox.release()
    frozen.signal(signal.SIGCONT)
    eventually(lambda: "stale attempt" in frozen.output() or "reset" in frozen.output())
    assert job.refresh().result == result
    assert job.attempts == 2
    assert_each_once(sandbox, 1)


def test_an_attempt_that_was_frozen_before_its_call_does_not_make_it(
    own: Stack, sandbox: SandboxControl
) -> None:
    frozen = ready(own.start_worker("frozen", COMETCHAT_READ_TIMEOUT="60"))
    # The first attempt's outcome is unknown, so that the second begins with reading.
    sandbox.faults(
        {"kind": "cut", "operation": "create", "times": 1},
        {"kind": "hold", "when": "after", "operation": "get", "times": 1},
    )
    job = enqueue_webhook("shop", orders())
    sandbox.wait_for_held()
    frozen.signal(signal.SIGSTOP)
    second = ready(own.start_worker("second"))
    assert job.wait(20).state == "SUCCESS"
    assert second.stop() == 0
    sandbox.release()
    frozen.signal(signal.SIGCONT)
    eventually(lambda: "stale attempt" in frozen.output())
    assert frozen.stop() == 0
    assert sandbox.state()["calls_by_operation"]["create"] == 2
    assert_each_once(sandbox, 1)


def test_redis_killed_three_times_under_worker_and_producer(
    own: Stack, sandbox: SandboxControl
) -> None:
    assert own.redis is not None
    worker = ready(own.start_worker())
    number = 0
    for _ in range(3):
        for _ in range(20):
            enqueue_webhook(f"shop-{number}", orders())
            number += 1
        own.redis.kill()
        time.sleep(1.5)  # the outage itself
        own.redis.start()
        back = time.monotonic()
        job = enqueue_webhook(f"shop-{number}", orders()).wait(10)
        number += 1
        assert job.state == "SUCCESS"
        assert time.monotonic() - back < 10
        assert worker.process.poll() is None
    eventually(lambda: sum(get_store().counts().values()) == 0, 20)
    kept = {one["app_id"] for one in sandbox.webhooks()}
    # appendfsync everysec: what was enqueued within the last second before a kill may be gone.
    assert len(kept) >= number - 60
    for one in sandbox.webhooks():
        assert one["created_by_calls"] == 1


def test_redis_away_is_a_clear_error_within_five_seconds(own: Stack) -> None:
    from tasks import StoreUnavailable

    assert own.redis is not None
    own.redis.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="Nothing is half-done"):
        enqueue_webhook("shop", orders())
    assert time.monotonic() - began < 5
    own.redis.start()
    own.redis.part.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        enqueue_webhook("shop", orders())
    assert time.monotonic() - began < 5
    own.redis.part.signal(signal.SIGCONT)


def test_a_job_for_later_runs_when_it_is_due(own: Stack, sandbox: SandboxControl) -> None:
    ready(own.start_worker())
    due = get_store().clock() + 2
    job = enqueue_webhook("shop", orders(), not_before=due).wait(10)
    assert 0 <= job.history[0]["at"] - due < 1.5


def test_the_queue_deleted_and_messages_doubled(own: Stack, sandbox: SandboxControl) -> None:
    from tasks.pipe import publish

    jobs = [outcome.job for outcome in enqueue_webhooks((f"shop-{n}", orders()) for n in range(40))]
    with redis.Redis.from_url(own.env["REDIS_URL"]) as client:
        publish(get_store().take_due(queued=0).hints)
        assert client.delete("webhooks") == 1
        ids = [job.id for job in jobs if job is not None]
        publish(ids[:20] * 3)
    ready(own.start_worker())
    for job_id in ids:
        job = get_job(job_id).wait(20)
        assert (job.state, job.attempts) == ("SUCCESS", 1)
    assert_each_once(sandbox, 40)


def test_hints_are_sent_where_kombu_logs_its_channels(
    own: Stack, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KOMBU_LOG_CHANNEL, as who looks for a fault sets it."""
    from tasks.pipe import messages_in_queue, publish

    monkeypatch.setattr("kombu.connection._log_channel", "1")
    assert publish(["first", "second"])
    assert messages_in_queue() == 1


def test_foreign_messages_do_no_harm(own: Stack, sandbox: SandboxControl) -> None:
    from config.celery_app import app

    worker = ready(own.start_worker())
    app.send_task("tasks.create_webhook", ("no-such-job",))
    app.send_task("tasks.create_webhook", ())
    app.send_task("tasks.create_webhook", ({"a": 1},))
    app.send_task("tasks.unknown", (1,))
    job = enqueue_webhook("shop", orders())
    assert job.wait(20).state == "SUCCESS"
    assert worker.process.poll() is None
    assert worker.output().count("foreign message dropped") == 2
    assert "raised unexpected" not in worker.output()


def test_no_more_jobs_are_hinted_at_than_the_pipe_has_room_for(
    own: Stack, sandbox: SandboxControl
) -> None:
    own.env["PIPE_SIZE"] = "32"
    use_environment(own.env)
    sandbox.settings(latency=0.01)
    ready(own.start_worker())
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, int(client.zcard("webhooks:published")))
        return sum(get_store().counts().values()) == 0

    with redis.Redis.from_url(own.env["REDIS_URL"]) as client:
        enqueue_webhooks((f"shop-{n}", orders()) for n in range(400))
        eventually(done, 60)
    assert 0 < most <= 32
    assert_each_once(sandbox, 400)


def test_the_events_of_many_jobs_come_in_few_messages(own: Stack, sandbox: SandboxControl) -> None:
    """Of each job those that Celery sends, under the job's id, as Flower reads them."""
    ready(own.start_worker())
    with redis.Redis.from_url(own.env["REDIS_URL"]) as client, client.pubsub() as listening:
        listening.psubscribe("/0.celeryev/*")
        outcomes = enqueue_webhooks((f"shop-{n}", orders()) for n in range(100))
        jobs = [outcome.job for outcome in outcomes if outcome.job]
        assert {job.wait(20).state for job in jobs} == {"SUCCESS"}
        found: dict[str, list[str]] = {job.id: [] for job in jobs}
        messages = 0
        until = time.monotonic() + 10
        while time.monotonic() < until and not all("task-succeeded" in of for of in found.values()):
            if (one := listening.get_message(timeout=1)) is None or one["type"] != "pmessage":
                continue
            events = json.loads(b64decode(json.loads(one["data"])["body"]))
            messages += isinstance(events, list)
            for event in events if isinstance(events, list) else []:
                found[event["uuid"]].append(event["type"])
                assert event["type"] != "task-received" or event["name"] == "tasks.create_webhook"
    assert set(map(tuple, found.values())) == {("task-received", "task-started", "task-succeeded")}
    assert messages < 30
