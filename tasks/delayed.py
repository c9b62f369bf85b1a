"""`create_webhook.delay(app_id, webhook)`, which Celery users try first: it enqueues a job."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from celery import Task
from celery.result import AsyncResult

from tasks.errors import InvalidInput
from tasks.producer import enqueue_webhook
from tasks.store import get_store

#: The times of Celery's options, each as the option of `enqueue_webhook` that it is.
TIMES: Final = {"eta": "not_before", "countdown": "not_before", "expires": "expires_in"}

_CALLS_NOTHING: Final = "a job calls no other task when it ends; wait for it, or read its result"
_WRITTEN: Final = "a job is written to Redis, not sent: the settings say where"
_RETRIED: Final = "the settings RETRY_... say how a job is retried"
_BOUNDED: Final = "the settings COMETCHAT_..._TIMEOUT bound a call"
#: Options of Celery that are not obeyed, and why. Any other is not either.
NOT_OBEYED: Final = {
    "task_id": "the id of a job follows from its account, app and webhook",
    "priority": 'give "interactive" or "bulk" among the arguments of the task',
    **dict.fromkeys(("link", "link_error", "chain", "chord"), _CALLS_NOTHING),
    **dict.fromkeys(("producer", "connection", "queue", "exchange", "routing_key"), _WRITTEN),
    **dict.fromkeys(("serializer", "compression"), _WRITTEN),
    **dict.fromkeys(("retry", "retry_policy"), _RETRIED),
    **dict.fromkeys(("time_limit", "soft_time_limit"), _BOUNDED),
}

#: What `enqueue_webhook` takes, and which of it by its place here.
_PARAMETERS: Final = frozenset(inspect.signature(enqueue_webhook).parameters)
_ARGUMENTS: Final = ("app_id", "webhook")
#: Celery's options that may go by their places, behind `args` and `kwargs`.
_OPTIONS: Final = ("task_id", "producer", "link", "link_error", "shadow")


class Enqueuing(Task):
    """A task that is not sent when it is called: a job is enqueued, with the same checks."""

    abstract = True

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *others: Any,
        **options: Any,
    ) -> AsyncResult:
        """Enqueue a webhook as `enqueue_webhook` does.

        Args:
            args: app id and webhook. Or the id of a job alone, which is enqueued already.
            kwargs: options of `enqueue_webhook`, or app id and webhook by their names.
            others: further options of Celery by their places, which are not obeyed.
            options: Celery's. `eta` (a datetime, without a time zone in UTC), `countdown` (seconds)
                and `expires` (either) are obeyed; others raise.

        Returns:
            The result of the job, by its id.

        Raises:
            InvalidInput: naming every bad field, and each option that has no meaning here.
            WebhookJobError: as `enqueue_webhook` does.
        """
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        if len(args) == 1 and not kwargs and _is_job_id(args[0]):
            return self.AsyncResult(args[0])
        options |= zip(_OPTIONS, others, strict=False)
        given = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
        problems = _problems(given, options)
        if len(args) > len(_ARGUMENTS):
            problems["args"] = "are app id and webhook; the options go by their names"
        times = {name: value for name in TIMES if (value := options.get(name)) is not None}
        for name, value in times.items():
            if TIMES[name] in given or (name == "eta" and "countdown" in times):
                problems[name] = f"{TIMES[name]} is given, too"
            try:
                _time(name, value, time.time())
            except (TypeError, ValueError):
                problems[name] = "must be a datetime" if name == "eta" else "must be seconds"
        if problems:
            words = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
            raise InvalidInput(f"{self.name}: {words}", problems)
        if times:
            now = get_store().clock()  # which counts, whatever this machine's says
            given |= {TIMES[name]: _time(name, value, now) for name, value in times.items()}
        return self.AsyncResult(enqueue_webhook(**given).id)


def _problems(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Which arguments are missing or unknown, and which options are not obeyed."""
    return {
        **{name: "is missing" for name in _ARGUMENTS if name not in given},
        **{name: "is no option" for name in given if name not in _PARAMETERS},
        **{
            name: NOT_OBEYED.get(name, "has no meaning for a job")
            for name, value in options.items()
            if value is not None and name not in TIMES
        },
    }


def _is_job_id(value: object) -> bool:
    try:
        return str(uuid.UUID(str(value))) == value
    except ValueError:
        return False


def _time(name: str, value: datetime | str | float, now: float) -> datetime | float:
    """What `enqueue_webhook` takes for it. Raises `TypeError` or `ValueError`."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        return value if name == "eta" else value.timestamp() - now
    if name == "eta":
        raise TypeError
    return now + float(value) if name == "countdown" else float(value)
