"""A day of the API as a script: what it does from when to when. Read from a small TOML file.

A file has `about`, a sentence, and any number of entries:

    [[entry]]
    from = 10                # seconds from the timeline's beginning
    to = 130                 # without it, until the sandbox ends
    say = "the API is away"  # printed when it begins and ends
    faults = [{ kind = "status", status = 503 }]  # rules, see worker/sandbox/faults.py
    limit = { calls = 100, seconds = 1, headers = "x-ratelimit" }
    accepted_keys = ["old", "new"]  # pairs of key and secret; [] for none

Besides `faults` an entry can have any of the settings that change while the sandbox runs
(`CHANGEABLE` in worker/sandbox/settings.py). Where two entries at a time change the same setting,
the one further down in the file holds; rules of faults are asked in the order in which they began.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.sandbox.faults import Rule
from worker.sandbox.settings import CHANGEABLE, Settings

#: The days that come with the program.
READY: Final = Path(__file__).parent / "days"
#: The longest file in bytes, and the most entries.
MAX_SIZE: Final = 1_000_000
MAX_ENTRIES: Final = 1_000
#: A week, in seconds.
MAX_SECONDS: Final = 604_800.0

_OWN: Final = frozenset({"from", "to", "say", "faults"})


class BadTimeline(ValueError):
    """A timeline that cannot be played; `problems` has a sentence for each, as the message has."""

    def __init__(self, where: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{where} is no timeline:{lines}")


class Entry(BaseModel):
    """What the API does from one instant to another, in seconds from the beginning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(alias="from", ge=0, le=MAX_SECONDS)
    end: float = Field(alias="to", default=math.inf, gt=0)
    say: str = Field(default="", max_length=200)
    faults: tuple[Rule, ...] = ()
    #: Settings of the sandbox, by their names.
    changes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_order(self) -> Entry:
        if self.end <= self.start:
            raise ValueError(f"`to` ({self.end:g}) must be after `from` ({self.start:g})")
        if not self.faults and not self.changes:
            known = ", ".join(sorted(CHANGEABLE))
            raise ValueError(f"it does nothing: give `faults` or any of {known}")
        return self

    @property
    def label(self) -> str:
        """What it says, or else what it has."""
        if self.say:
            return self.say
        return ", ".join([rule.label for rule in self.faults] + sorted(self.changes))


class Timeline(BaseModel):
    """A day: what it is about, and its entries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = ""
    entries: tuple[Entry, ...]

    def instants(self) -> list[float]:
        """When something begins or ends, in order, in seconds from the beginning."""
        times = {each.start for each in self.entries} | {each.end for each in self.entries}
        return sorted(times - {math.inf})

    def at(self, instant: float) -> list[Entry]:
        """The entries that hold then, in the file's order."""
        return [each for each in self.entries if each.start <= instant < each.end]


def find_timeline(name: str) -> Path:
    """Return the file of this name, or the one among the ready days, whose `.toml` may be left out.

    Raises:
        BadTimeline: there is no such file; the message names the ready ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.name == name and (ready := READY / f"{name.removesuffix('.toml')}.toml").is_file():
        return ready
    days = ", ".join(sorted(each.stem for each in READY.glob("*.toml")))
    raise BadTimeline(name, [f"There is no such file. The ready days: {days}."])


def read_timeline(path: Path) -> Timeline:
    """Return the timeline of a file.

    Raises:
        BadTimeline: the file cannot be read, is no TOML, or has bad entries; names all of them.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIZE + 1)
        if len(text) > MAX_SIZE:
            raise BadTimeline(str(path), [f"It is longer than {MAX_SIZE:,} bytes."])
        content = tomllib.loads(text.decode())
    except OSError as error:
        raise BadTimeline(str(path), [error.strerror or "It cannot be read."]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTimeline(str(path), [f"It is no TOML: {error}"]) from None
    return parse_timeline(content, where=str(path))


def parse_timeline(content: Any, *, where: str = "The body") -> Timeline:
    """Return the timeline of a parsed TOML file, or of JSON of the same form.

    Args:
        content: an object with `entry`, a list of objects, and perhaps `about`.
        where: what the message calls it.

    Raises:
        BadTimeline: names every bad entry by its number, and what is wrong with each.
    """
    if not isinstance(content, dict):
        raise BadTimeline(where, ["It must be an object with a list `entry`."])
    problems = [f"{name}: there is no such key" for name in content if name not in _TOP]
    about, entries = content.get("about", ""), content.get("entry", [])
    if not isinstance(about, str):
        problems.append("about: must be a text")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
        raise BadTimeline(where, [*problems, f"entry: 1 to {MAX_ENTRIES:,} of them are needed"])
    good = []
    for number, entry in enumerate(entries, 1):
        try:
            good.append(_entry(entry))
        except ValidationError as error:
            problems += [f"entry {number}: {words}" for words in _words(error)]
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
    if problems:
        raise BadTimeline(where, problems)
    return Timeline(about=about, entries=tuple(good))


_TOP: Final = ("about", "entry")


def _entry(entry: Any) -> Entry:
    if not isinstance(entry, dict):
        raise ValueError("it must be a table")
    if unknown := sorted(entry.keys() - _OWN - CHANGEABLE):
        raise ValueError(f"there is no {', '.join(f'`{name}`' for name in unknown)}")
    changes = {name: value for name, value in entry.items() if name in CHANGEABLE}
    own = {name: value for name, value in entry.items() if name in _OWN}
    settings = Settings().changed(changes)
    return Entry.model_validate(
        {**own, "changes": {name: getattr(settings, name) for name in changes}}
    )


def _words(error: ValidationError) -> Iterable[str]:
    for each in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, each["loc"]))
        words = each["msg"].removeprefix("Value error, ")
        yield f"{place}: {words}" if place else words
