"""Loaded by a worker (`-I tests.chaos.saboteur`): its dispatcher dies or hangs, on SIGUSR2.

SABOTAGE says how and in which step: "hang:take_due", or "die:renew,publish" for the one at the
first signal and the other at the next. STILL_SECONDS are those after which a loop stands still.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from itertools import cycle
from typing import Any

import worker.dispatcher
import worker.watched
from tasks.jobs import JobStore

HOW, _, STEPS = os.environ.get("SABOTAGE", "hang:take_due").partition(":")
worker.watched.STILL_SECONDS = float(os.environ.get("STILL_SECONDS", "30"))  # type: ignore[misc]
THREADS = {"leases", "pipe", "wake", "telling", "dispatcher"}


class Saboteur:
    """Stands before each of the steps."""

    def __init__(self) -> None:
        self.armed: list[str] = []
        self.steps = cycle(STEPS.split(","))
        for step in set(STEPS.split(",")):
            owner: Any = worker.dispatcher if hasattr(worker.dispatcher, step) else JobStore
            # A function, as it may become a method.
            setattr(owner, step, _standing_before(getattr(owner, step), partial(self.act, step)))

    def act(self, step: str, *args: Any) -> None:
        if step == "publish" and not args[0]:
            return
        if threading.current_thread().name not in THREADS or step not in self.armed:
            return
        self.armed.remove(step)
        print(f"sabotage: {HOW} in {step}", flush=True)
        if HOW == "die":
            raise SystemExit
        threading.Event().wait()

    def arm(self, *_: Any) -> None:
        self.armed.append(next(self.steps))


def _standing_before(step: Any, act: Any) -> Any:
    def sabotaged(*args: Any, **options: Any) -> Any:
        act(*args)
        return step(*args, **options)

    return sabotaged


saboteur = Saboteur()
signal.signal(signal.SIGUSR2, saboteur.arm)
