"""Which jobs a person means: by app, failure and time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tasks.errors import InvalidInput
from tasks.record import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Jobs that fit all that is given.

    Args:
        app_id: those of this app.
        failure: those whose last failure is of this class, such as "PlanLimit".
        code: those whose last failure has this code of the API, such as "ERR_PLAN_RESTRICTION".
        since: not before this instant, an aware datetime or unix seconds.
        until: not after this instant.

    Of failed jobs the instant is that of the failure, else that of enqueueing. Raises
    `InvalidInput` if an instant has no time zone, or none can be between the two.
    """

    app_id: str | None = None
    failure: str | None = None
    code: str | None = None
    since: datetime | float | None = None
    until: datetime | float | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            instant = getattr(self, name)
            if isinstance(instant, datetime) and instant.tzinfo is None:
                raise InvalidInput(f"{name}: must have a time zone", {name: "has no time zone"})
        if self.begin > self.end:
            raise InvalidInput("since: must be before until", {"since": "is after until"})

    @property
    def begin(self) -> float:
        """Unix seconds of `since`, 0 without one."""
        return 0.0 if self.since is None else _unix(self.since)

    @property
    def end(self) -> float:
        """Unix seconds of `until`, infinity without one."""
        return float("inf") if self.until is None else _unix(self.until)

    def fits(self, job: JobRecord) -> bool:
        """Whether a job is of this app and failure; its time is looked at by the store."""
        error = job.error or {}
        return (
            self.app_id in {None, job.app_id}
            and self.failure in {None, error.get("class")}
            and self.code in {None, error.get("code")}
        )


ALL: Final = Selection()


def _unix(instant: datetime | float) -> float:
    return instant.timestamp() if isinstance(instant, datetime) else float(instant)
