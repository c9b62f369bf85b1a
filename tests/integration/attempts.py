"""Attempts made in this process, one by one: real steps, the real task and client, the sandbox."""

from __future__ import annotations

from typing import Any

import pytest
from celery.result import AsyncResult

from config.celery_app import app
from tasks.create_webhook import create_webhook
from tests.conftest import FAST, use_environment
from worker.sandbox import RunningSandbox, SandboxControl
from worker.stack import SANDBOX_SECRET

URL = "https://shop.example.com/hook"


@pytest.fixture(name="api")
def api_fixture(redis_server: str, lent_sandbox: RunningSandbox) -> SandboxControl:
    """An API that knows nothing; this process is a worker of it, on an empty Redis."""
    lent_sandbox.control.reset()
    use_environment(
        {
            **FAST,
            "REDIS_URL": redis_server,
            "COMETCHAT_BASE_URL": lent_sandbox.base_url,
            "COMETCHAT_KEY": "sandbox-key",
            "COMETCHAT_SECRET": SANDBOX_SECRET,
        }
    )
    return lent_sandbox.control


def attempt(job: Any) -> None:
    """A message of this job comes: at most one attempt is made."""
    create_webhook.apply(args=(job.id,), task_id=job.id)


def told(job: Any) -> str:
    """What Celery's result backend says of it."""
    return str(AsyncResult(job.id, app=app).state)


def triggers(api: SandboxControl, app_id: str) -> set[str]:
    """Those that the app's webhook has."""
    [kept] = [kept for kept in api.webhooks() if kept["app_id"] == app_id]
    return set(kept["triggers"])
