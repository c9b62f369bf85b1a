"""Plays a timeline on a sandbox."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from worker.sandbox.app import Sandbox
from worker.sandbox.timeline import Entry, Timeline


class Player:
    """Lets a sandbox do what a timeline says, when it says so.

    Args:
        sandbox: which one.
        timeline: the one that `play` plays unless it is given another.
        say: is told what begins and ends.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        timeline: Timeline | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._sandbox = sandbox
        self._timeline = timeline
        self._about = timeline.about if timeline else ""
        self._say = say
        self._base = sandbox.settings
        self._handles: list[asyncio.TimerHandle] = []
        self._began: float | None = None
        self._now: Sequence[Entry] = ()

    def play(self, timeline: Timeline | None = None) -> None:
        """Begin now; one that is being played ends.

        What no entry speaks of stays as it is. A setting that is changed by hand meanwhile holds
        until something begins or ends.

        Raises:
            ValueError: there is no timeline to play.
        """
        timeline = timeline or self._timeline
        if timeline is None:
            raise ValueError("There is no timeline: send one, or start with --timeline.")
        self.stop()
        self._about, self._base = timeline.about, self._sandbox.settings
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self._at(timeline, 0.0)
        self._handles = [
            loop.call_at(self._began + instant, self._at, timeline, instant)
            for instant in timeline.instants()
            if instant > 0
        ]

    def stop(self) -> None:
        """End what is being played, as if it had been over: its faults and settings go."""
        for handle in self._handles:
            handle.cancel()
        if self._began is not None:
            self._change([], math.inf)
        self._handles, self._began = [], None

    def state(self) -> dict[str, Any]:
        """Return `playing`, `seconds` since the beginning, `about`, and what happens `now`."""
        playing = self._began is not None
        seconds = asyncio.get_running_loop().time() - self._began if self._began is not None else 0
        return {
            "playing": playing,
            "seconds": round(seconds, 3),
            "about": self._about,
            "now": [entry.label for entry in self._now],
        }

    def _at(self, timeline: Timeline, instant: float) -> None:
        self._change(timeline.at(instant), instant)

    def _change(self, now: Sequence[Entry], instant: float) -> None:
        before, self._now = self._now, now
        for entry in before:
            if not _is_among(entry, now):
                self._sandbox.faults.remove(entry.faults)
                self._tell(instant, f"over: {entry.label}")
        for entry in now:
            if not _is_among(entry, before):
                self._sandbox.faults.add(entry.faults)
                self._tell(instant, entry.label)
        changes: dict[str, Any] = {}
        for entry in now:
            changes |= entry.changes
        self._sandbox.apply(self._base.changed(changes))

    def _tell(self, instant: float, words: str) -> None:
        if math.isfinite(instant):
            self._say(f"{instant:7.1f} s  {words}")


def _is_among(entry: Entry, others: Sequence[Entry]) -> bool:
    return any(entry is each for each in others)
