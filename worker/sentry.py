"""Sentry: one event for a job that failed for good, for an account that is refused, and for each
fault of this program.

Retries are no events. Events carry ids, class, code and the history of attempts; no local
variables, no source lines, no requests; behind that, each known secret is looked for by its value
(`worker/sentry_scrub.py`). Without SENTRY_DSN nothing is sent.
"""

from __future__ import annotations

import uuid
from typing import Any

import sentry_sdk
from celery import signals
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration

from config import __version__
from config.secret_settings import secrets_of
from config.secrets import known_secrets
from config.settings import Settings
from tasks.errors import ApiFailure
from tasks.record import JobRecord
from tasks.signals import account_rejected, bug_found, job_failed
from worker.sentry_scrub import HOOKS, ScrubbingTransport

#: Seconds that a stopping worker gives to events that are still to be sent.
FLUSH_SECONDS = 2.0


def start_sentry(settings: Settings) -> None:
    """Report to SENTRY_DSN from now on, if it is set."""
    if settings.sentry_dsn is None:
        return
    known_secrets.learn(secrets_of(settings))
    sentry_sdk.init(**options(settings.sentry_dsn.get_secret_value(), settings))
    job_failed.connect(report_failed_job, weak=False)
    account_rejected.connect(report_rejected_account, weak=False)
    bug_found.connect(report_bug, weak=False)
    signals.task_failure.connect(report_failed_task, weak=False)
    signals.worker_shutdown.connect(_flush, weak=False)


def options(dsn: str, settings: Settings) -> dict[str, Any]:
    """What the SDK is told: to send little, and that little without secrets."""
    return {
        "dsn": dsn,
        "environment": settings.sentry_environment,
        "release": f"cometchat-webhook-worker@{__version__}",
        # Integrations send what they meet, arguments included. These two send nothing.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": [AtexitIntegration(callback=lambda *_: None), DedupeIntegration()],
        "send_default_pii": False,
        "include_local_variables": False,
        "include_source_context": False,
        "max_request_body_size": "never",
        "max_breadcrumbs": 0,
        "auto_session_tracking": False,
        # Whatever SENTRY_SPOTLIGHT and SENTRY_DEBUG say: both show events to others.
        "spotlight": False,
        "debug": False,
        "shutdown_timeout": FLUSH_SECONDS,
        # Should something leak into an event all the same: it is taken out by its value.
        "transport": ScrubbingTransport,
        **HOOKS,
    }


def report_failed_job(job: JobRecord, **_: Any) -> None:
    """Send the one event of a job that failed for good, grouped by failure, not by webhook."""
    error = job.error or {}
    kind, code = str(error.get("class")), error.get("code")
    sentry_sdk.capture_event(
        {
            # Telling twice, after a worker died in between, is still one event at Sentry.
            "event_id": uuid.uuid5(uuid.UUID(job.id), f"{job.failure}:{job.first_attempt_at}").hex,
            "level": "error",
            "logger": "tasks",
            "exception": {"values": [{"type": kind, "value": str(error.get("message"))}]},
            "fingerprint": ["job-failed", kind, str(code)],
            "tags": _tags(job)
            | {"class": kind, "code": str(code), "status": str(error.get("status"))},
            "contexts": {"attempts": {"history": [dict(entry) for entry in job.history]}},
        }
    )


def report_rejected_account(
    account: str, failure: ApiFailure, job: JobRecord | None, **_: Any
) -> None:
    """Send the one event of an account whose credentials are refused: all its jobs wait.

    The job that met it may have been forgotten since.
    """
    sentry_sdk.capture_event(
        {
            "level": "error",
            "logger": "tasks",
            "exception": {"values": [{"type": type(failure).__name__, "value": str(failure)}]},
            "fingerprint": ["account-rejected", account],
            "tags": (_tags(job) if job else {})
            | {"account": account, "code": str(failure.code), "status": str(failure.status)},
        }
    )


def report_bug(error: BaseException, job: JobRecord, **_: Any) -> None:
    """Send a fault of this program that an attempt met."""
    with sentry_sdk.new_scope() as scope:
        scope.set_tags(_tags(job))
        scope.capture_exception(error)


def report_failed_task(sender: Any, exception: BaseException, **_: Any) -> None:
    """Send a fault that a task met outside of an attempt."""
    if not isinstance(exception, tuple(sender.throws or ())):
        sentry_sdk.capture_exception(exception)


def _tags(job: JobRecord) -> dict[str, str]:
    return {
        "app": job.app_id,
        "webhook": job.webhook_id,
        "job": job.id,
        "attempts": str(job.attempts),
    }


def _flush(**_: Any) -> None:
    sentry_sdk.flush(timeout=FLUSH_SECONDS)
