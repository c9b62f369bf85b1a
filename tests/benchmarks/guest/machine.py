"""Whether the machine had time for the day: figures of one that had none say little."""

from __future__ import annotations

from pathlib import Path

STAT = Path("/proc/stat")
#: What the figure is called.
IDLE = "processors idle meanwhile"


class Idle:
    """Measures which share of all processors was idle, from its making on; only Linux tells."""

    def __init__(self) -> None:
        self._before = _read()

    def share(self) -> float:
        """Between 0 and 1; not a number where it is not known."""
        (idle, total), (idle_before, total_before) = _read(), self._before
        return (idle - idle_before) / (total - total_before) if total > total_before else _UNKNOWN


_UNKNOWN = float("nan")


def _read() -> tuple[int, int]:
    if not STAT.exists():
        return 0, 0
    ticks = [int(word) for word in STAT.read_text().partition("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
