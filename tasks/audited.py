"""What people do, noted in the audit stream before it is done."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any

from config.settings import get_settings
from tasks.audit import Who
from tasks.errors import InvalidInput, StoreUnavailable
from tasks.fields import check_app_id, check_webhook_id
from tasks.store import get_store


def whoever_runs_this() -> Who:
    """The person at the command line: the account that runs this process, as the system knows it,
    and the name that USER or SUDO_USER gives besides, which anybody can set.
    """
    named = os.environ.get("SUDO_USER") or os.environ.get("USER") or ""
    account = f"uid {os.getuid()}"
    with suppress(ImportError, KeyError):  # a container may have no list of accounts
        import pwd

        account = pwd.getpwuid(os.getuid()).pw_name
    user = account if named in {"", account} else f"{named[:100]} (as {account})"
    return Who(user, socket.gethostname())


@contextmanager
def audited(
    action: str,
    on: Mapping[str, Any] = MappingProxyType({}),
    *,
    who: Who | None = None,
    once: str = "",
    seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Note an action before it is done, and how it ended: with an error, if one is raised.

    Args:
        action: a word or two.
        on: what it is done to: ids, a selection, a reason, never what may be a secret.
        who: does it; by default whoever runs this process.
        once, seconds: see `Audit.begin`.

    Yields:
        Where to put what came of it: counts, a state.

    Raises:
        StoreUnavailable: Redis did not take the entry; nothing is done. If it does not take the
            second one, nothing is raised: the action was done, and the stream does not say how
            it ended.
    """
    audit = get_store().audit
    entry, new = audit.begin(action, who or whoever_runs_this(), on, once=once, seconds=seconds)
    result: dict[str, Any] = {}
    outcome = "done"
    try:
        yield result
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        outcome = "interrupted" if interrupted else f"failed: {type(error).__name__}"
        raise
    finally:
        if new:
            with suppress(StoreUnavailable):
                audit.end(entry, outcome, result)


def about_job(job_id: str) -> dict[str, Any]:
    """What an entry says of a job. Raises `JobNotFound`: what is none is noted nowhere."""
    job = get_store().get(job_id)
    return {
        "job": job_id,
        "account": job.account,
        "app_id": job.app_id,
        "webhook_id": job.webhook_id,
    }


def about_webhook(app_id: str, webhook_id: str, account: str) -> dict[str, Any]:
    """What an entry says of a webhook that somebody named: that only which can be a name."""
    known = {"account": account} if account in get_settings().accounts else {}
    for name, check, value in (
        ("app_id", check_app_id, app_id),
        ("webhook_id", check_webhook_id, webhook_id),
    ):
        with suppress(InvalidInput):
            known[name] = check(value)
    return known
