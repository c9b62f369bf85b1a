"""Beat's schedule in Redis, and what operators see in Flower."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import requests
from celery import Celery

from config.celery_app import configuration
from config.settings import get_settings
from tasks import Webhook, enqueue_webhook
from tests.conftest import eventually
from worker.sandbox import SandboxControl
from worker.stack import HOST, Part, Stack, free_port

URL = "https://shop.example.com/hook"


def orders(number: int = 0) -> Webhook:
    return Webhook(id=f"orders-{number}", name="Orders", webhook_url=URL)


def make_due(name: str) -> None:
    """Let an entry's time have come, as it had run long ago."""
    from redbeat import RedBeatSchedulerEntry

    app = Celery()
    app.conf.update(configuration(get_settings()))
    entry = RedBeatSchedulerEntry.from_key(f"webhooks:beat:{name}", app=app)
    entry.last_run_at = datetime(2020, 1, 1, tzinfo=UTC)
    entry.save()
    entry.reschedule(entry.last_run_at)


def test_two_beats_send_what_is_due_once(
    stack: Stack, sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.faults({"app_id": app_id, "kind": "status", "status": 503})
    job = enqueue_webhook(app_id, orders()).wait(20)
    assert job.state == "FAILURE"
    sandbox.faults()
    beats = [stack.celery(f"beat-{n}", "beat", LOG_LEVEL="debug") for n in range(2)]
    for beat in beats:  # that have written their schedule: after that they leave it as it is
        beat.wait_for_line("Acquiring lock")
    eventually(lambda: [beat for beat in beats if "Acquired lock" in beat.output()])
    make_due("retry_failed")
    eventually(lambda: job.refresh().state == "SUCCESS", 20)
    make_due("prune")
    worker = next(part for part in stack.parts if part.name == "worker")
    eventually(lambda: '"event": "prune"' in worker.output(), 20)
    assert worker.output().count('"event": "retry_failed"') == 1
    for beat in beats:
        beat.stop()


def page(port: int, path: str) -> str:
    try:
        return requests.get(f"http://{HOST}:{port}{path}", timeout=5).text
    except requests.ConnectionError:
        return ""


def start_flower(stack: Stack) -> tuple[Part, int]:
    port = free_port()
    flower = stack.celery("flower", "flower", f"--address={HOST}", f"--port={port}")
    eventually(lambda: "worker@stack" in page(port, "/workers"), 20)
    return flower, port


def test_flower_shows_workers_and_each_job(
    stack: Stack, sandbox: SandboxControl, app_id: str
) -> None:
    flower, port = start_flower(stack)
    sandbox.put_webhook(app_id, "orders-1", name="Other", url=URL)
    sandbox.faults(
        {"app_id": app_id, "webhook_id": "orders-2", "kind": "status", "status": 401},
        {"app_id": app_id, "webhook_id": "orders-3", "kind": "status", "status": 503, "times": 2},
    )
    jobs = {number: enqueue_webhook(app_id, orders(number)) for number in (0, 1, 3)}

    def shown(number: int) -> str:
        text = page(port, f"/task/{jobs[number].id}")
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))

    eventually(lambda: "Status SUCCESS" in shown(0))
    eventually(lambda: "Status FAILURE" in shown(1))
    assert "has a webhook" in shown(1) and "with another name" in shown(1)
    eventually(lambda: "Status SUCCESS" in shown(3))
    assert "Retries 2" in shown(3)
    jobs[2] = enqueue_webhook(app_id, orders(2))  # last, as the whole account waits after it
    eventually(lambda: "Status RETRY" in shown(2))
    flower.stop()
