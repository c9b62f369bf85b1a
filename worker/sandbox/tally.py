"""How many calls arrived in each second, and how they were answered."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

#: How many seconds the tally keeps: those of two hours in which calls came.
KEPT_SECONDS: Final = 7_200


class Tally:
    """Counts of calls by the whole unix second of their arrival."""

    def __init__(self) -> None:
        self._seconds: dict[int, Counter[str]] = {}

    def arrived(self, at: float) -> None:
        """Count a call that arrived at this unix time."""
        second = int(at)
        counts = self._seconds.get(second)
        if counts is None:
            counts = self._seconds[second] = Counter()
            if len(self._seconds) > KEPT_SECONDS:
                del self._seconds[next(iter(self._seconds))]
        counts["calls"] += 1

    def answered(self, at: float, status: int | None) -> None:
        """Count the answer to the call that arrived at this time; None for no status."""
        counts = self._seconds.get(int(at))
        if counts is not None:  # else it is older than what is kept, or was forgotten
            counts["none" if status is None else str(status)] += 1

    def since(self, at: float) -> list[dict[str, Any]]:
        """Return the counts of each second from this one on in which a call arrived.

        Each has `second` (unix), `calls`, and for each status how many got it, "none" for those
        that got none. Calls that are still under way are among `calls` alone.
        """
        return [
            {"second": second, **counts} for second, counts in self._seconds.items() if second >= at
        ]

    def clear(self) -> None:
        """Forget all."""
        self._seconds.clear()
