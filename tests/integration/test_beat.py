"""Beat's schedule in Redis."""

from __future__ import annotations

from datetime import UTC, datetime

from celery import Celery
from pydantic import SecretStr

from config.celery_app import configuration
from config.settings import get_settings, load_settings
from tasks import Webhook, enqueue_webhook
from tests.conftest import eventually
from worker.sandbox import SandboxControl
from worker.stack import Stack

URL = "https://shop.example.com/hook"


def orders(number: int = 0) -> Webhook:
    return Webhook(id=f"orders-{number}", name="Orders", webhook_url=URL)


def make_due(name: str, url: str | None = None) -> None:
    """Let an entry's time have come, as it had run long ago; `url` may write the schedule."""
    from redbeat import RedBeatSchedulerEntry

    app = Celery()
    settings = load_settings(redis_url=SecretStr(url)) if url else get_settings()
    app.conf.update(configuration(settings))
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
