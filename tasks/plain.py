"""How a value looks to a person: somebody's words, times and lengths of time."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from rich.text import Text

#: Characters of one value; a webhook's triggers have the most.
LONGEST: Final = 12_000
# What a terminal would obey instead of showing it.
_SEQUENCES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def took(milliseconds: object) -> str:
    """In seconds; of the history, where it may be anything."""
    if isinstance(milliseconds, int | float) and 0 <= milliseconds < 1e12:
        return f"{milliseconds / 1000:.1f} s"
    return ""


def names(value: object) -> str:
    """A list in a sentence."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def local(instant: float) -> str:
    """To the second, with its offset: as `--since` takes it."""
    try:
        return datetime.fromtimestamp(instant).astimezone().isoformat(timespec="seconds")
    except (OverflowError, OSError, TypeError, ValueError):
        return "?"  # of the history, where it may be anything


def ago(seconds: float) -> str:
    """A length of time in the unit that fits it."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def plain(value: object) -> Text:
    """Somebody's words, without what a terminal would obey."""
    text = "" if value is None else str(value)[:LONGEST]
    return Text(_CONTROL.sub(" ", _SEQUENCES.sub("", text)))
