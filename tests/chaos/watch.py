"""A clock beside the run: when the sandbox created how much, and how long faults held it up."""

from __future__ import annotations

import threading
import time

from worker.sandbox import SandboxControl


class Watch:
    """Counts the creates that have had their effect, until `over`."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over
        self.marks: list[float] = []
        self.effects: list[tuple[float, int]] = []

    def start(self, sandbox: SandboxControl) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, args=(sandbox,), daemon=True).start()

    def _run(self, sandbox: SandboxControl) -> None:
        while not self._over.wait(0.1):
            try:
                reached = sandbox.wait_for_effects(0, "create", timeout=0.1)
            except (OSError, ValueError):
                continue
            self.effects.append((time.monotonic(), reached))

    def created(self) -> int:
        """How many there are so far."""
        return self.effects[-1][1] if self.effects else 0

    def first_after(self) -> float | None:
        """The longest time from a mark to the next job that was done, in seconds."""
        times = []
        for mark in self.marks:
            before = max((n for at, n in self.effects if at <= mark), default=0)
            after = [at for at, n in self.effects if at > mark and n > before]
            if after:
                times.append(after[0] - mark)
        return max(times, default=None)
