"""What Sentry and the worker's log hear of a job, and that no secret is in it."""

from __future__ import annotations

import base64
import json
from typing import Any

from celery.result import AsyncResult

from config.celery_app import app as celery_app
from tasks import Job, Webhook, enqueue_webhook, get_job
from tests import faulty
from tests.conftest import SentrySink, eventually
from worker.sandbox import SandboxControl
from worker.stack import Stack

URL = "https://shop.example.com/hook"
PASSWORD = "hunter2hunter2hunter2"

#: What Sentry may not have: names of local variables, lines of source, anything of a request.
UNTOLD_BY_SENTRY = {"vars", "context_line", "pre_context", "post_context", "request", "user"}


def webhook(**fields: Any) -> Webhook:
    return Webhook(**{"id": "orders", "name": "Orders", "webhookURL": URL, **fields})


def lines_about(stack: Stack, job: Job) -> list[dict[str, Any]]:
    """The lines of the worker's log that name the job, each of them JSON."""
    [worker] = [part for part in stack.parts if part.name == "worker"]
    return [json.loads(line) for line in worker.output().splitlines() if job.id in line]


def attempts_in_the_log(stack: Stack, job: Job, count: int) -> list[dict[str, Any]]:
    def told() -> list[dict[str, Any]] | None:
        found = [line for line in lines_about(stack, job) if line["event"] == "attempt"]
        return found if len(found) >= count else None

    found: list[dict[str, Any]] = eventually(told)
    assert len(found) == count
    return found


def keys_in(value: Any) -> set[str]:
    """Every name of a field in it, however deep."""
    if isinstance(value, dict):
        return set(value).union(*map(keys_in, value.values()))
    return set().union(*map(keys_in, value)) if isinstance(value, list) else set()


def secrets_in(text: str, stack: Stack) -> list[str]:
    """The secrets that a text repeats, in clear or in base64."""
    names = ("COMETCHAT_KEY", "COMETCHAT_SECRET", "SEALING_PRIVATE_KEYS")
    secrets = [PASSWORD, *(stack.env[name] for name in names)]
    secrets.append(base64.b64encode(f"chat:{PASSWORD}".encode()).decode())
    return [secret for secret in secrets if secret in text]


def all_that_is_seen_of(job: Job) -> Any:
    """All that a person or another process can see of a job."""
    return (
        job.refresh().record,
        job.as_json(),
        AsyncResult(job.id, app=celery_app).result,
        get_job(job.id),
    )


class TestSentryIsToldNoSecret:
    def test_of_a_job_whose_failure_repeats_them(
        self, stack: Stack, sandbox: SandboxControl, sentry: SentrySink, app_id: str
    ) -> None:
        said = f"{PASSWORD} {stack.env['COMETCHAT_KEY']} {stack.env['COMETCHAT_SECRET']} is bad."
        fault = {"app_id": app_id, "kind": "status", "status": 422, "operation": "create"}
        sandbox.faults({**fault, "code": "ERR_BAD_REQUEST", "message": said})
        job = enqueue_webhook(app_id, webhook(username="chat", password=PASSWORD)).wait(10)
        assert job.state == "FAILURE"
        [event] = eventually(lambda: sentry.of(app_id))
        assert "is bad." in event["exception"]["values"][0]["value"]
        assert keys_in(event) & UNTOLD_BY_SENTRY == set()
        assert secrets_in(b"".join(sentry.raw).decode(), stack) == []
        assert secrets_in(str(all_that_is_seen_of(job)), stack) == []

    def test_of_a_fault_of_the_program(
        self, stack: Stack, sandbox: SandboxControl, sentry: SentrySink, app_id: str
    ) -> None:
        asked = webhook(name=faulty.NAME, username="chat", password=PASSWORD)
        job = enqueue_webhook(app_id, asked).wait(20)
        events = eventually(lambda: [e for e in sentry.of(app_id) if "class" not in e["tags"]])
        faults = [fault for event in events for fault in event["exception"]["values"]]
        frames = [frame for fault in faults for frame in fault["stacktrace"]["frames"]]
        assert {"ensure", "open_webhook"} <= {frame["function"] for frame in frames}
        assert keys_in(events) & UNTOLD_BY_SENTRY == set()
        assert secrets_in(b"".join(sentry.raw).decode(), stack) == []
        assert secrets_in(json.dumps(lines_about(stack, job)), stack) == []


class TestTheLog:
    def test_has_a_line_for_each_attempt(
        self, stack: Stack, sandbox: SandboxControl, app_id: str
    ) -> None:
        fault = {"app_id": app_id, "operation": "create", "kind": "status", "times": 1}
        sandbox.faults({**fault, "status": 503, "code": "ERR_EXCEPTION"})
        job = enqueue_webhook(app_id, webhook(username="chat", password=PASSWORD)).wait(10)
        first, second = attempts_in_the_log(stack, job, 2)
        about = {"event": "attempt", "job": job.id, "app": app_id, "webhook": "orders"}
        for line in (first, second):
            assert isinstance(line.pop("ms"), int)
            assert line.pop("timestamp").endswith("Z")
        assert 0 <= first.pop("next_try_in") <= 0.2
        assert first == {
            **about,
            "level": "info",
            "attempt": 1,
            "outcome": "ApiUnavailable",
            "status": 503,
            "code": "ERR_EXCEPTION",
        }
        assert second == {**about, "level": "info", "attempt": 2, "outcome": "created"}

    def test_warns_of_a_failure(self, stack: Stack, sandbox: SandboxControl, app_id: str) -> None:
        sandbox.put_webhook(app_id, "orders", name="Others", url=URL)
        job = enqueue_webhook(app_id, webhook()).wait(10)
        [line] = attempts_in_the_log(stack, job, 1)
        assert (line["level"], line["outcome"]) == ("warning", "WebhookConflict")
        assert {"code", "next_try_in"} & set(line) == set()

    def test_is_json_and_holds_no_secret(
        self, stack: Stack, sandbox: SandboxControl, app_id: str
    ) -> None:
        sandbox.faults({"app_id": app_id, "operation": "create", "kind": "echo", "times": 1})
        job = enqueue_webhook(app_id, webhook(username="chat", password=PASSWORD))
        [line] = attempts_in_the_log(stack, job, 1)
        assert (line["outcome"], line["status"]) == ("AccountRejected", 401)
        [worker] = [part for part in stack.parts if part.name == "worker"]
        assert secrets_in(worker.output(), stack) == []
