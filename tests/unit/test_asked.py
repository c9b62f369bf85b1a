"""The options of enqueueing."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.asked import FARTHEST, Asked
from tasks.errors import InvalidInput

PLAIN: dict[str, Any] = {
    "webhook_version": 2,
    "not_before": None,
    "account": "default",
    "on_existing": "accept",
    "expires_in": None,
    "allow_unknown_triggers": False,
    "durability": "memory",
    "priority": "interactive",
    "group": None,
}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (90, 90.0),
        (0.5, 0.5),
        (timedelta(minutes=10), 600.0),
        (FARTHEST, float(FARTHEST)),
    ],
)
def test_a_time_is_seconds_or_a_timedelta(given: Any, seconds: float | None) -> None:
    assert Asked.checked(**{**PLAIN, "expires_in": given}).expires_in == seconds


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("expires_in", 0, "must be more than no time, and at most ten years"),
        ("expires_in", -1, "more than no time"),
        ("expires_in", math.nan, "more than no time"),
        ("expires_in", math.inf, "more than no time"),
        ("expires_in", 1e-9, "more than no time"),
        ("expires_in", timedelta(days=5_000), "at most ten years"),
        ("expires_in", True, "must be a timedelta or seconds"),
        ("expires_in", "10m", "must be a timedelta or seconds"),
        ("expires_in", datetime.now(UTC), "must be a timedelta or seconds"),
        ("on_existing", "replace", "must be one of: accept, update, fail"),
        ("on_existing", None, "must be one of"),
        ("allow_unknown_triggers", "yes", "must be true or false"),
        ("not_before", "now", "must be an aware datetime or unix seconds"),
        ("webhook_version", 3, "must be 2, or None for legacy"),
        ("account", "other", "must be one of: default"),
        ("priority", "low", "must be one of: interactive, bulk"),
        ("group", "", "must be 1 to 100 printable characters"),
        ("group", "x" * 101, "must be 1 to 100 printable characters"),
        ("group", "a\nb", "must be 1 to 100 printable characters"),
        ("group", 7, "must be 1 to 100 printable characters"),
        ("durability", "none", "must be one of: memory, fsync, replicas"),
    ],
)
def test_a_bad_option_is_named(option: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as bad:
        Asked.checked(**{**PLAIN, option: value})
    assert list(bad.value.problems) == [option]
    assert words in bad.value.problems[option]
    assert f"{option}: " in str(bad.value)


def test_all_bad_options_are_named_at_once() -> None:
    bad = {"expires_in": 0, "on_existing": "", "not_before": -1.0}
    with pytest.raises(InvalidInput) as refused:
        Asked.checked(**{**PLAIN, **bad})
    assert set(refused.value.problems) == set(bad)


def test_what_would_end_before_it_begins_is_refused() -> None:
    later = time.time() + 600
    with pytest.raises(InvalidInput, match="expires_in: is over before not_before"):
        Asked.checked(**{**PLAIN, "not_before": later, "expires_in": 60})
    assert Asked.checked(**{**PLAIN, "not_before": later, "expires_in": 660}).expires_in == 660
