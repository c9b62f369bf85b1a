"""Figures with their bounds, and how they are printed: pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

#: Seconds in a row that must be fast on average for a rate to count as reached.
STEADY_SECONDS = 3


@dataclass(frozen=True)
class Figure:
    """What was measured: one value for each run.

    Args:
        what: in words.
        values: one a run.
        bound: what it must keep to; None for a figure that is only told.
        kind: whether the bound is the most or the least.
        unit: how a value is written, a format such as `{:.1%}`.
        judged: by the worst run, or by the median where a single run says little.
    """

    what: str
    values: tuple[float, ...]
    bound: float | None = None
    kind: Literal["most", "least"] = "most"
    unit: str = "{:,.0f}"
    judged: Literal["worst", "median"] = "worst"

    @property
    def holds(self) -> bool:
        """Whether it keeps to its bound."""
        if self.bound is None:
            return True
        if self.kind == "most":
            return self.judged_value <= self.bound
        return self.judged_value >= self.bound

    @property
    def judged_value(self) -> float:
        """The value that counts."""
        if self.judged == "median":
            return statistics.median(self.values)
        return max(self.values) if self.kind == "most" else min(self.values)

    def row(self) -> str:
        """What, measured, bound and verdict, as a row of a table in Markdown."""
        measured = ", ".join(map(self.unit.format, self.values))
        if self.judged == "median" and len(self.values) > 1:
            measured = f"{self.unit.format(self.judged_value)} ({measured})"
        bound, verdict = "", ""
        if self.bound is not None:
            bound = f"at {self.kind} {self.unit.format(self.bound)}"
            verdict = "yes" if self.holds else "**NO**"
        return f"{self.what} | {measured} | {bound} | {verdict} |"


def most(what: str, value: float, bound: float | None = None, unit: str = "{:,.0f}") -> Figure:
    """A figure that must not be more than the bound."""
    return Figure(what, (value,), bound, "most", unit)


def least(what: str, value: float, bound: float | None = None, unit: str = "{:,.0f}") -> Figure:
    """A figure that must not be less than the bound."""
    return Figure(what, (value,), bound, "least", unit)


def merged(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The figures of several runs of a day, each with the values of all."""
    return [
        Figure(**{**asdict(some[0]), "values": tuple(v for one in some for v in one.values)})
        for some in zip(*runs, strict=True)
    ]


def middle(values: Iterable[float]) -> float:
    """The mean without the tenth at each end."""
    inner = sorted(values)
    tenth = len(inner) // 10
    return statistics.fmean(inner[tenth : len(inner) - tenth])


HEAD = "| day | figure | measured | bound | holds |\n| --- | --- | --- | --- | --- |"


def rows(day: str, figures: Iterable[Figure]) -> list[str]:
    """A day's rows; its name is in the first."""
    return [f"| {'' if n else day} | {figure.row()}" for n, figure in enumerate(figures)]


def as_json(day: str, figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """The same for a program."""
    return [
        {
            "day": day,
            **asdict(figure),
            # JSON has no infinity: what was never reached has no value.
            "values": [value if math.isfinite(value) else None for value in figure.values],
            "holds": figure.holds,
        }
        for figure in figures
    ]


Seconds = Mapping[int, Mapping[str, int]]


def by_second(counted: Iterable[Mapping[str, int]]) -> dict[int, Mapping[str, int]]:
    """What `SandboxControl.seconds` returns, by its second."""
    return {each["second"]: each for each in counted}


def total(seconds: Seconds, start: float, end: float, what: str = "calls") -> int:
    """How many calls, or answers of one status, there were in the whole seconds within a span."""
    first, last = -int(-start // 1), int(end)
    return sum(seconds.get(second, {}).get(what, 0) for second in range(first, last))


def whole_seconds(start: float, end: float) -> int:
    """How many whole seconds of the clock are within a span."""
    return max(int(end) + int(-start // 1), 0)


def curve(seconds: Seconds, start: float, end: float) -> str:
    """The successes of each second, with what else there was: `97 98+2 97`."""
    words = []
    for second in range(int(start), int(end)):
        counts = seconds.get(second, {})
        good, calls = counts.get("200", 0), counts.get("calls", 0)
        words.append(f"{good}+{calls - good}" if calls > good else f"{good}")
    return " ".join(words)


def reached_after(seconds: Seconds, since: float, rate: float, until: float) -> float:
    """Seconds from `since` until so many calls a second succeed, and go on to; infinite if never.

    Counts to the end of the first of some seconds in a row that have the rate on average.
    """
    for second in range(int(since), int(until) - STEADY_SECONDS + 1):
        some = [seconds.get(second + n, {}).get("200", 0) for n in range(STEADY_SECONDS)]
        if some[0] >= 0.9 * rate and sum(some) >= rate * STEADY_SECONDS:
            return second + 1 - since
    return float("inf")
