"""Which worker process this is: its attempts are its own, whatever other workers are called."""

from __future__ import annotations

import uuid
from typing import Final

#: Of this process, and of those that it forks for its pool.
_OWN: Final = uuid.uuid4().hex[:12]


def identity(hostname: str) -> str:
    """The name under which a worker claims jobs, renews their leases and hands them back.

    Args:
        hostname: Celery's name of the worker, for people. Several on one host may have the same.
    """
    return f"{hostname}/{_OWN}"
