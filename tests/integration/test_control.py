"""Celery's remote control and Flower's buttons: revoking a job cancels it."""

from __future__ import annotations

import time

import pytest
import requests
from celery.result import AsyncResult

from config.celery_app import app
from tasks import Webhook, enqueue_webhook
from tasks.actions import retry_job
from tasks.audit import Who
from tasks.store import get_store
from tests.conftest import eventually
from tests.integration.test_flower import LOGIN, start_flower
from worker.sandbox import SandboxControl
from worker.stack import HOST, Stack

ORDERS = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")


def revoke(job_id: str, **options: object) -> str:
    """What the one worker answers."""
    [answer] = app.control.revoke(job_id, reply=True, timeout=5, limit=1, **options)
    return str(answer["worker@stack"]["ok"])


@pytest.mark.parametrize("options", [{}, {"terminate": True, "signal": "KILL"}])
def test_a_waiting_job_that_is_revoked_is_cancelled_until_it_is_retried(
    sandbox: SandboxControl, app_id: str, options: dict[str, object]
) -> None:
    job = enqueue_webhook(app_id, ORDERS, not_before=time.time() + 600)
    assert revoke(job.id, **options) == f"Job {job.id} is REVOKED."
    assert job.refresh().state == "REVOKED"
    assert AsyncResult(job.id, app=app).state == "REVOKED"
    retry_job(job.id)
    # The worker does not drop its messages.
    assert job.wait(10).state == "SUCCESS"


def test_a_call_that_is_under_way_is_not_cut_off(sandbox: SandboxControl, app_id: str) -> None:
    sandbox.faults({"kind": "hold", "app_id": app_id, "operation": "create", "times": 1})
    job = enqueue_webhook(app_id, ORDERS)
    sandbox.wait_for_held()
    assert revoke(job.id, terminate=True) == f"Job {job.id} is STARTED until its call ends."
    sandbox.release()
    assert job.wait(10).state == "SUCCESS"
    assert len([one for one in sandbox.webhooks() if one["app_id"] == app_id]) == 1
    assert "has ended (SUCCESS)" in revoke(job.id)
    *_, noted = [one for one in get_store().audit.actions() if one.on.get("job") == job.id]
    assert noted.who == Who("unknown", "unknown", "remote control")
    assert (noted.outcome, noted.result) == ("done", {"state": "STARTED"})


def test_what_is_no_job_is_told(sandbox: SandboxControl) -> None:
    assert "There is no job nonsense" in revoke("nonsense")
    [answer] = app.control.broadcast(
        "terminate", arguments={"signal": "KILL", "task_id": ["a", "b"]}, reply=True, limit=1
    )
    assert str(answer["worker@stack"]["ok"]).count("There is no job") == 2


def test_flowers_button_cancels_a_job_and_shows_it_if_it_may(
    stack: Stack, sandbox: SandboxControl, app_id: str
) -> None:
    flower = start_flower(stack, FLOWER_READ_ONLY="false")
    sandbox.faults({"kind": "status", "status": 401, "app_id": app_id})
    job = enqueue_webhook(app_id, ORDERS)
    eventually(lambda: job.refresh().state == "RETRY")
    eventually(lambda: "RETRY" in flower.page(f"/task/{job.id}"))
    revoke = f"{flower.url}/api/task/revoke/{job.id}"
    assert requests.post(revoke, timeout=10).status_code == 401
    assert requests.post(revoke, auth=LOGIN, timeout=10).status_code == 200
    eventually(lambda: job.refresh().state == "REVOKED")
    eventually(lambda: "REVOKED" in flower.page(f"/task/{job.id}"))
    flower.part.stop()
    [noted] = [one for one in get_store().audit.actions() if one.on.get("job") == job.id]
    assert noted.who == Who("alice", HOST, "Flower")
    assert (noted.action, noted.outcome, noted.result) == ("cancel", "done", {"state": "REVOKED"})
