"""A job as its producer sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from tasks.jobs import JobStore
from tasks.record import JobRecord
from tasks.states import ENDED

#: What is known of a job's effect at CometChat.
Effect = Literal[
    "none", "created", "existed", "updated", "unchanged", "deleted", "absent", "unknown"
]

#: `wait` looks this often at first, and this often later, in seconds.
POLL_FIRST, POLL_MOST = 0.05, 1.0


class Job:
    """A job as it stood when it was last looked at; `refresh()` looks again.

    It is made by `enqueue_webhook`, its like for changes (`tasks/changes.py`) and `get_job`.
    """

    def __init__(self, record: JobRecord, store: JobStore) -> None:
        self._record = record
        self._store = store

    @property
    def id(self) -> str:
        """The job's id, and its Celery task's.

        That of a webhook's first creation is the UUIDv5 of account, app id and webhook id.
        """
        return self._record.id

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED."""
        return self._record.state

    @property
    def attempts(self) -> int:
        """How many attempts are used up."""
        return self._record.attempts

    @property
    def result(self) -> Mapping[str, Any] | None:
        """The webhook as the API has it; on SUCCESS, and on FAILURE if it is there all the same.
        Of a delete, or of triggers that were set, just its id and what follows.

        `outcome` is what `effect` says, `changed` the names of the fields that an
        update sent, `differs` those that the API shows otherwise than was asked for, if there are
        any. If triggers were asked for, all that the webhook has are in `triggers`, which
        is missing if nobody knows.
        """
        return self._record.result if self.state in {"SUCCESS", "FAILURE"} else None

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The last failure, if there was one: class, code, status, message."""
        return self._record.error

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """An entry for each of the latest 20 attempts, oldest first."""
        return self._record.history

    @property
    def due_at(self) -> datetime | None:
        """When the next attempt is due, by Redis's clock; None if one runs or none is to come."""
        due = self._record.due_at
        return None if due is None else datetime.fromtimestamp(due, UTC)

    @property
    def effect(self) -> Effect:
        """What the job has done at CometChat, as far as anybody knows.

        "created", "existed" or "updated" on SUCCESS, and on FAILURE if the webhook is there and
        only its triggers are not; "updated" or "unchanged", and "deleted" or "absent", of jobs
        that change or delete it. Else "none" if no call was made, or each is known to have had no
        effect; "unknown" if one is under way, if nobody saw how one ended, or if some had their
        effect and others did not: then the webhook may exist.
        """
        if self.state == "SUCCESS" or self.result:
            outcome: Any = (self.result or {}).get("outcome")
            return outcome if outcome in get_args(Effect) else "created"
        return "unknown" if self._record.outcome_unknown or self.state == "STARTED" else "none"

    @property
    def record(self) -> JobRecord:
        """All that is known."""
        return self._record

    def refresh(self) -> Job:
        """Look again, and return this job. Raises `JobNotFound` or `StoreUnavailable`."""
        self._record = self._store.get(self.id)
        return self

    def wait(self, timeout: float) -> Job:
        """Wait up to `timeout` seconds for the job to end, and return it.

        Raises:
            TimeoutError: it has not ended yet; it goes on all the same.
            StoreUnavailable: Redis cannot be reached.
        """
        give_up = time.monotonic() + timeout
        pause = POLL_FIRST
        while self.refresh().state not in ENDED:
            left = give_up - time.monotonic()
            if left <= 0:
                why = f" ({self.error.get('message')})" if self.error else ""
                raise TimeoutError(
                    f"Job {self.id} is {self.state} after {timeout:g} s{why}; it goes on."
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, POLL_MOST)
        return self

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        record = self._record
        return {
            "id": self.id,
            "state": self.state,
            "action": record.more.action,
            "after": record.after,
            "app_id": record.app_id,
            "webhook_id": record.webhook_id,
            "attempts": self.attempts,
            "result": self.result,
            "error": self.error,
            "effect": self.effect,
            "cancelled": record.cancelled or self.state == "REVOKED",
            "created_at": _iso(record.created_at),
            "due_at": _iso(record.due_at),
            "ended_at": _iso(record.ended_at),
            "expires_at": _iso(record.more.expires_at),
            "webhook": record.webhook,
            "triggers": list(record.more.triggers),
            "on_existing": record.more.on_existing,
            "history": record.history,
        }

    def __repr__(self) -> str:
        """The id and the state."""
        return f"<Job {self.id} {self.state}>"


def _iso(instant: float | None) -> str | None:
    return None if instant is None else datetime.fromtimestamp(instant, UTC).isoformat()
