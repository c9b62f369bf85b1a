"""Whoever can write to the queue can at most cause a job to be looked at."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from config.broker import QUEUE
from config.celery_app import app as celery_app
from tasks import get_job
from tasks.record import NewJob, job_id
from tasks.store import get_store
from tests.chaos.foreign import EMBED, message
from tests.conftest import eventually
from worker.sandbox import SandboxControl
from worker.stack import Part, Stack

STOLEN = "stolen"
#: What Celery would send when a task ends, and whereto.
SIGNATURE = {
    "task": "tasks.prune",
    "args": ["taken"],
    "kwargs": {},
    "options": {"queue": STOLEN, "task_id": "taken"},
    "subtask_type": None,
    "immutable": False,
}
EVERYTHING = {
    "callbacks": [SIGNATURE],
    "errbacks": [SIGNATURE],
    "chain": [SIGNATURE],
    "chord": SIGNATURE,
}

WISHES = {
    "group": "g",
    "ignore_result": False,
    "stamped_headers": ["x"],
    "replaced_task_nesting": 1,
    "reply_to": STOLEN,
    "x": ["y"],
    "timelimit": [0.01, 0.01],
    "eta": "2099-01-01T00:00:00+00:00",
}


@pytest.fixture(name="broker")
def broker_fixture(sandbox: SandboxControl, stack: Stack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        yield client


def recorded(app_id: str, webhook_id: str = "orders") -> str:
    """A job without a message: the test has its own."""
    wire = {"id": webhook_id, "name": "Orders", "webhookURL": "https://a.example", "enabled": True}
    new = NewJob(job_id("default", app_id, webhook_id), 0, "default", app_id, wire, None, 2)
    get_store().add([new])
    return new.id


@pytest.mark.parametrize("webhook_id", ["orders", "../orders"], ids=["succeeds", "fails"])
def test_a_message_has_nothing_sent_to_others(
    broker: redis.Redis, sandbox: SandboxControl, app_id: str, webhook_id: str
) -> None:
    job = recorded(app_id, webhook_id)
    headers = {**WISHES, "id": job}
    content = [[job], {}, EVERYTHING]
    raw = message(headers, {"reply_to": STOLEN, "correlation_id": "c"}, content=content)
    # Nobody else hints at it meanwhile.
    broker.zadd("webhooks:published", {job: get_store().clock() + 60})
    broker.lpush(QUEUE, raw)
    assert get_job(job).wait(20).state == ("SUCCESS" if webhook_id == "orders" else "FAILURE")
    after = recorded(f"{app_id}-2")  # whatever the first one has Celery do, is done before
    broker.lpush(QUEUE, message({"id": after}, content=[[after], {}, EMBED]))
    assert get_job(after).wait(20).state == "SUCCESS"
    assert not [key for key in broker.keys("*") if STOLEN.encode() in key]


def test_nor_has_a_message_for_a_task_of_the_schedule(
    broker: redis.Redis, sandbox: SandboxControl, app_id: str
) -> None:
    """Celery runs it, and obeys what else is in a message."""
    broker.delete("webhooks:round:tasks.prune")
    headers = {**WISHES, "id": "a-prune", "task": "tasks.prune"}
    properties = {"reply_to": STOLEN, "correlation_id": "c"}
    broker.lpush(QUEUE, message(headers, properties, content=[[], {}, EVERYTHING]))
    eventually(lambda: broker.exists("webhooks:round:tasks.prune"))
    after = recorded(app_id)  # whatever the first one has Celery do, is done before
    broker.lpush(QUEUE, message({"id": after}, content=[[after], {}, EMBED]))
    assert get_job(after).wait(20).state == "SUCCESS"
    assert not [key for key in broker.keys("*") if STOLEN.encode() in key]


def rss(worker: Part) -> dict[str, int]:
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)
            if name in ("VmRSS", "VmHWM")}  # fmt: skip


BOMB = b'[["' + b"0" * 45_000_000 + b'"], {}, {}]'
HUGE: dict[str, Any] = {
    "100 MB": lambda: b"x" * 100_000_000,
    "of 75 MB": lambda: message(content=[["x" * 75_000_000], {}, {}]),
    "compressed": lambda: message(
        {"compression": "application/x-gzip"}, content=zlib.compress(BOMB)
    ),
    "in a codec that unpacks": lambda: message(
        content_type="application/text", content_encoding="zlib", content=zlib.compress(BOMB, 9)
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_message_costs_no_memory(
    stack: Stack, broker: redis.Redis, app_id: str, name: str
) -> None:
    [worker] = [part for part in stack.parts if part.name == "worker"]
    dropped = worker.output().count("message dropped")
    raw = HUGE[name]()
    Path(f"/proc/{worker.process.pid}/clear_refs").write_text("5")  # begin the peak anew
    before = rss(worker)["VmRSS"]
    broker.lpush(QUEUE, raw)
    eventually(lambda: worker.output().count("message dropped") > dropped, 20)
    job = recorded(app_id)
    broker.lpush(QUEUE, message({"id": job}, content=[[job], {}, EMBED]))
    assert get_job(job).wait(20).state == "SUCCESS"
    assert rss(worker)["VmHWM"] - before < 32_000  # KiB


def test_what_is_published_to_all_is_bounded_too(stack: Stack, broker: redis.Redis) -> None:
    [worker] = [part for part in stack.parts if part.name == "worker"]
    said = len(worker.output())
    assert celery_app.control.ping(timeout=2)
    Path(f"/proc/{worker.process.pid}/clear_refs").write_text("5")
    before = rss(worker)["VmRSS"]
    broker.publish("/0.celery.pidbox", b"x" * 50_000_000)
    eventually(lambda: "is too large" in worker.output()[said:], 20)
    eventually(lambda: celery_app.control.ping(timeout=1), 20)
    assert rss(worker)["VmHWM"] - before < 32_000  # KiB
    assert "Connection to broker lost" not in worker.output()[said:]


FOREIGN: dict[str, dict[str, Any]] = {
    "as Celery sends it": {},
    "with named arguments": {"kwargs": {"to": "hunter2hunter2"}},
    "as pickle": {"serializer": "pickle"},
    "compressed": {"compression": "zlib"},
    "as old Celery sends it": {"protocol": 1},
    "for later": {"countdown": 3600},
}


@pytest.mark.parametrize("form", FOREIGN)
def test_a_task_of_another_program_is_refused_with_its_likely_cause(
    stack: Stack, broker: redis.Redis, form: str
) -> None:
    [worker] = [part for part in stack.parts if part.name == "worker"]
    said = len(worker.output())
    options = {"args": ("hunter2hunter2",), **FOREIGN[form]}
    host = Celery("shop", broker=stack.env["REDIS_URL"], set_as_current=False)
    host.conf.update(task_protocol=options.pop("protocol", 2), task_default_queue=QUEUE)
    with host:
        host.send_task("shop.send_welcome", **options)
    eventually(lambda: "shop.send_welcome" in worker.output()[said:])
    [line] = [one for one in worker.output()[said:].splitlines() if "shop.send_welcome" in one]
    told = json.loads(line)
    assert told["level"] == "error"
    assert "another program's Celery app" in told["likely_cause"]
    assert "hunter2" not in worker.output()[said:]
