"""Loaded into a worker (`-I tests.faulty`), a fault of the program, for webhooks of one name.

It comes where a password is open, in a frame that has it as plain text.
"""

from __future__ import annotations

from tasks import ensure, passwords
from tasks.record import JobRecord
from tasks.webhook import Webhook

#: The name of webhooks that meet the fault.
NAME = "a fault"


class Fault(Exception):
    """What no part of the program knows."""


def open_webhook(job: JobRecord) -> Webhook:
    """The real one's webhook, unless it has the name."""
    webhook = passwords.open_webhook(job)
    password = webhook.password and webhook.password.get_secret_value()
    if webhook.name == NAME:
        raise Fault(f"of {len(password or '')} characters")
    return webhook


ensure.open_webhook = open_webhook
