"""A job's time (`expires_in`): no call begins after it, and none goes on beyond it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from tasks.cometchat import Guard
from tasks.errors import ApiFailure, Expired
from tasks.gate import Told
from tasks.progress import Progress
from tasks.record import JobRecord
from tasks.verbs import VERBS

#: Seconds; with less left no call begins, as it could only be cut.
LEAST_SECONDS: Final = 0.1


class _Turn(Guard, Protocol):
    def told(self, failure: ApiFailure | None = None) -> Told: ...


class Deadline:
    """One attempt's way to the API, within the job's time; passes the gate on the way.

    Args:
        turn: the attempt's way through the gate.
        job: as it was claimed: what is left then is told by Redis's clock alone.
        since: this machine's `time.monotonic()` from right before the claim.
        progress: what the attempt has done so far.
    """

    def __init__(
        self, turn: _Turn, job: JobRecord, since: float, progress: Progress | None = None
    ) -> None:
        self._turn, self._job, self._since = turn, job, since
        self._progress = progress or Progress()
        self._has_called = False

    def left(self) -> float | None:
        """Seconds that are left, None if there is no end."""
        expires_at, claimed_at = self._job.more.expires_at, self._job.started_at
        if expires_at is None or claimed_at is None:
            return None
        return expires_at - claimed_at - (time.monotonic() - self._since)

    def before_call(self) -> float | None:
        """Wait for the call's turn; the seconds that it may take.

        Raises `Expired`, or what the gate raises.
        """
        self.check()
        self._turn.before_call()
        left = self.check()
        self._has_called = True
        return left

    def before_bytes(self) -> None:
        """Pass the fence, behind which bytes go that change something."""
        self._turn.before_bytes()

    def after_call(self, headers: Mapping[str, str]) -> None:
        """Pass on what an answer announced."""
        self._turn.after_call(headers)

    def told(self, failure: ApiFailure | None = None) -> Told:
        """What the gate is to hear; nothing if the time was over before a call was made."""
        is_silent = isinstance(failure, Expired) and not self._has_called
        return Told() if is_silent else self._turn.told(failure)

    def check(self) -> float | None:
        """The seconds that are left. Raises `Expired`."""
        left = self.left()
        if left is not None and left < LEAST_SECONDS:
            raise Expired(_words(self._job, self._progress))
        return left


def _words(job: JobRecord, progress: Progress) -> str:
    until = datetime.fromtimestamp(job.more.expires_at or 0.0, UTC).isoformat(timespec="seconds")
    verb = VERBS[job.more.action]
    what = f"Webhook {job.webhook_id!r} of app {job.app_id!r}"
    if job.more.action != "create":
        what = f"To {verb.to_do} webhook {job.webhook_id!r} of app {job.app_id!r}"
    if progress.changed:
        effect = (
            "An earlier call had its effect, and what was to follow it was not done: look at the "
            "webhook at CometChat."
        )
    elif job.outcome_unknown:
        effect = (
            f"An earlier call may have {verb.done}, as no answer says what it did: look for it "
            "among the app's webhooks at CometChat."
        )
    else:
        effect = "No call was made for it after that."
    last = (job.error or {}).get("message")
    reason = f" The last attempt had failed: {last}" if last else ""
    return (
        f"{what} was wanted until {until}, and that time is over. {effect} If it is still wanted, "
        f"forget job {job.id} and enqueue it again.{reason}"
    )
