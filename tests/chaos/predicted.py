"""What Redis must hold after a step, compared with what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasks.jobs import SLOW_SECONDS
from tasks.states import NONE
from tests.chaos.keyspace import OTHER_TIMES, SETS, TIMES, WHERE, Keyspace

#: Redis keeps milliseconds.
ROUNDED = 0.003

#: What begins to count at its very instant.
AT_ONCE = ("waiting", "published", "running", "untold", "expires", "alerting")

Held = dict[str, Any]


class Now(float):
    """An instant: so many seconds after the step that sets it, whose own time is not known yet."""

    def is_at(self, instant: object, since: float, until: float) -> bool:
        """Whether this is what a step between the two wrote."""
        return isinstance(instant, float) and since - ROUNDED <= instant - self <= until + ROUNDED


class Predicted:
    """The jobs as they must be, in the form of `Keyspace.jobs`; `now` is when that was seen.

    Instants that a step sets are `Now` until `differences` has seen what Redis made of them.
    """

    def __init__(self, *, pipe_size: int, result_ttl: int, failed_ttl: int, limit: int) -> None:
        self.pipe_size, self.limit = pipe_size, limit
        self.result_ttl, self.failed_ttl = result_ttl, failed_ttl
        self.now = 0.0
        self.jobs: dict[str, Held] = {}

    def state(self, job: str) -> str:
        """The state of a job, NONE if it has no record."""
        return str(self.jobs.get(job, {}).get("state", NONE))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each place."""
        return {place: self.count(place) for place in WHERE}

    def count(self, place: str) -> int:
        """How many jobs are in this one."""
        return sum(place in held for held in self.jobs.values())

    def differences(self, found: Keyspace) -> list[str]:
        """Where Redis is not as it must be, in words; from now on it must be as it is."""
        wrong = []
        for job in sorted({*self.jobs, *found.jobs}):
            want, have = self.jobs.get(job, {}), found.jobs.get(job, {})
            wrong += [
                f"{job}: {name} is {have.get(name)!r}, not {want.get(name)!r}"
                for name in sorted({*want, *have})
                if not self._same(want.get(name), have.get(name), found.now)
            ]
        self.jobs = {job: dict(held) for job, held in found.jobs.items()}
        self.now = found.now
        return wrong

    def _same(self, want: object, have: object, until: float) -> bool:
        if isinstance(want, Now):
            return want.is_at(have, self.now, until)
        if isinstance(want, float) and isinstance(have, float):
            return abs(want - have) < ROUNDED
        if isinstance(want, tuple) and isinstance(have, tuple):
            pairs = zip(want, have, strict=False)
            return len(want) == len(have) and all(a.items() <= b.items() for a, b in pairs)
        return want == have

    def ends(self) -> list[float]:
        """Every instant at which some step begins to answer something else."""
        after = {
            **dict.fromkeys(AT_ONCE, 0.0),
            "failed": self.failed_ttl,
            "index": self.result_ttl,
            "started_at": SLOW_SECONDS,
        }
        return [
            held[name] + seconds
            for held in self.jobs.values()
            for name, seconds in after.items()
            if name in held
        ]

    def forward(self, seconds: float) -> None:
        """So many seconds go by."""
        for job, held in list(self.jobs.items()):
            for name in (*TIMES, *OTHER_TIMES, *SETS, "expires"):
                if name in held:
                    held[name] -= seconds
            if held.get("expires", self.now + 1) <= self.now:
                self.jobs[job] = {name: held[name] for name in ("index", "untold") if name in held}

    def is_due(self, job: str, place: str) -> bool:
        """Whether this entry's time has come; what this very step put there for now is due."""
        at = self.jobs.get(job, {}).get(place)
        return at is not None and (at <= 0 if isinstance(at, Now) else at <= self.now)

    def due(self, place: str) -> list[str]:
        """The entries whose time has come, in their order."""

        def order(job: str) -> tuple[float, str]:
            at = self.jobs[job][place]
            return (self.now + at if isinstance(at, Now) else at, job)

        return sorted((job for job in self.jobs if self.is_due(job, place)), key=order)

    def older(self, place: str, seconds: float) -> Iterable[str]:
        """The entries that were set more than so many seconds ago."""
        instant = self.now - seconds
        return [job for job, held in self.jobs.items() if held.get(place, self.now) <= instant]
