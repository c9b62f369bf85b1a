"""Loaded into a worker (`-I tests.faulty`), faults of the program, for webhooks of some names.

That of `NAME` comes where a password is open. Those of `name_of(place)` come within the function
that is named, on the line on which it has a secret as plain text, or else on its last one, and in
a job's first attempt alone: what looks like a refusal of the account would close the gate again.
"""

from __future__ import annotations

import sys
from functools import reduce
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, Final

from config.secrets import known_secrets
from tasks import ensure, passwords
from tasks.record import JobRecord
from tasks.webhook import Webhook

NAME: Final = "a fault"

#: Functions that hold a secret while a job runs: of the program, and of what it calls.
OF_JOBS: Final = (
    "tasks.passwords:open_password",
    "tasks.passwords:open_webhook",
    "tasks.sealing:Sealer.open",
    "tasks.fields:is_password",
    "tasks.wire:json_of",
    "tasks.cometchat:CometChat._ask",
    "tasks.transport:Transport._exchange",
    "tasks.transport:_uncovered",
    "tasks.answers:redact",
    "tasks.answer_texts:without_secrets",
    "requests.models:PreparedRequest.prepare_headers",
    "requests.adapters:HTTPAdapter.send",
    "urllib3.connectionpool:HTTPConnectionPool._make_request",
    "http.client:HTTPConnection.putheader",
    "http.client:HTTPConnection._send_output",
)

#: Those of a process that reads its settings, connects to Redis, and seals.
OF_ENQUEUEING: Final = (
    "config.settings:load_settings",
    "config.values:_checked_redis_url",
    "config.sealing_keys:read_sealing_key",
    "tasks.redis:Connection.__init__",
    "tasks.redis:_client",
    "tasks.passwords:seal_password",
    "tasks.sealing:Sealer.__init__",
    "tasks.sealing:Sealer.seal",
    "redis.connection:AbstractConnection.send_command",
)


class Fault(Exception):
    """What no part of the program knows."""


def name_of(place: str) -> str:
    """The name of a webhook that meets a fault there."""
    return f"{NAME} {OF_JOBS.index(place)}"


def open_webhook(job: JobRecord) -> Webhook:
    """The real one's webhook, unless it has one of the names."""
    name = str(job.webhook.get("name"))
    if name.startswith(NAME) and name != NAME and job.attempt == 1:
        arm(OF_JOBS[int(name.removeprefix(NAME))])
    webhook = passwords.open_webhook(job)
    password = webhook.password and webhook.password.get_secret_value()
    if webhook.name == NAME:
        raise Fault(f"of {len(password or '')} characters")
    return webhook


def arm(place: str) -> None:
    """Let this thread's next visit of a function end in a fault, once."""
    code, last = _code_of(place)

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code is code else None

    def line(frame: FrameType, event: str, _: Any) -> Any:
        plain = known_secrets.all().finds(str(frame.f_locals)[:100_000])
        if event == "return" or (event == "line" and (plain or frame.f_lineno == last)):
            sys.settrace(None)
            raise Fault(f"in {place}")
        return line

    sys.settrace(call)


def _code_of(place: str) -> tuple[CodeType, int]:
    module, _, name = place.partition(":")
    code = reduce(getattr, name.split("."), import_module(module)).__code__  # type: ignore[arg-type]
    return code, max(number for *_, number in code.co_lines() if number is not None)


ensure.open_webhook = open_webhook
