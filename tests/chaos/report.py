"""What one chaos run found, as one line of JSON on its way to the table."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass
class Report:
    """The columns of the table; times are seconds."""

    name: str
    seed: int
    jobs: int = 0
    lost: int = 0
    doubled: int = 0
    repeated: int = 0
    last_ended: float | None = None
    first_after: float | None = None
    took: float = 0.0
    #: Figures of one scenario's own, as people read them.
    notes: list[str] = field(default_factory=list)
    #: Promises that did not hold.
    problems: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_good(self) -> bool:
        """Whether every promise held."""
        return not (self.lost or self.doubled or self.problems)

    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._began

    def line(self) -> str:
        """The report as a line."""
        return json.dumps({**asdict(self), "took": self.seconds(), "_began": 0.0})

    @classmethod
    def read(cls, line: str) -> Self:
        """The report of a line."""
        return cls(**json.loads(line))
