"""What a producer asks for besides the webhook: the options of enqueueing, checked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from config.settings import Durability, get_settings
from tasks.errors import InvalidInput
from tasks.more import OnExisting, Priority

#: Seconds; a time beyond is a mistake, such as milliseconds.
FARTHEST = 10 * 366 * 86_400

MAX_GROUP = 100  # characters


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `enqueue_webhook`, which describes them, as they are stored."""

    webhook_version: int | None = 2
    not_before: float = 0.0  # unix seconds
    account: str = "default"
    on_existing: OnExisting = "accept"
    expires_in: float | None = None  # seconds
    allow_unknown_triggers: bool = False
    priority: Priority = "interactive"
    group: str | None = None

    @classmethod
    def checked(
        cls,
        *,
        webhook_version: int | None,
        not_before: datetime | float | None,
        account: str,
        on_existing: OnExisting,
        expires_in: timedelta | float | None,
        allow_unknown_triggers: bool,
        durability: Durability,
        priority: Priority,
        group: str | None,
    ) -> Asked:
        """The options, if all are right. Raises `InvalidInput` naming each that is not."""
        problems: dict[str, str] = {}
        if durability not in get_args(Durability):
            problems["durability"] = f"must be one of: {', '.join(get_args(Durability))}"
        if webhook_version not in (2, None) or isinstance(webhook_version, bool):
            problems["webhook_version"] = "must be 2, or None for legacy"
        if account not in (known := get_settings().accounts):
            problems["account"] = f"must be one of: {', '.join(known)}"
        if on_existing not in get_args(OnExisting):
            problems["on_existing"] = f"must be one of: {', '.join(get_args(OnExisting))}"
        if priority not in get_args(Priority):
            problems["priority"] = f"must be one of: {', '.join(get_args(Priority))}"
        if group is not None and not _is_group(group):
            problems["group"] = f"must be 1 to {MAX_GROUP} printable characters"
        if not isinstance(allow_unknown_triggers, bool):
            problems["allow_unknown_triggers"] = "must be true or false"
        instant, seconds = 0.0, None
        try:
            instant = _instant(not_before)
        except ValueError as error:
            problems["not_before"] = str(error)
        try:
            seconds = _seconds(expires_in)
        except ValueError as error:
            problems["expires_in"] = str(error)
        # By this machine's clock, which may be off: Redis's decides in the end.
        if seconds is not None and instant >= time.time() + seconds:
            problems["expires_in"] = "is over before not_before: it counts from now on"
        if problems:
            words = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
            raise InvalidInput(f"enqueue: {words}", problems)
        return cls(
            webhook_version,
            instant,
            account,
            on_existing,
            seconds,
            allow_unknown_triggers,
            priority,
            group,
        )


def _is_group(group: object) -> bool:
    return isinstance(group, str) and 0 < len(group) <= MAX_GROUP and group.isprintable()


def _instant(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("must have a time zone")
        value = value.timestamp()
    if not _is_number(value):
        raise ValueError("must be an aware datetime or unix seconds")
    # NaN is not within the limits either.
    if not 0.0 <= value <= time.time() + FARTHEST:
        raise ValueError("must be unix seconds, at most ten years from now")
    return float(value)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_number(seconds):
        raise ValueError("must be a timedelta or seconds")
    if not 0.001 <= seconds <= FARTHEST:
        raise ValueError("must be more than no time, and at most ten years")
    return float(seconds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
