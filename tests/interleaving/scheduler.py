"""Threads of which one at a time has the baton, and a clock that goes on when all of them wait.

An actor runs until it pauses; then whoever is due next goes on. While somebody is due, no time
passes.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from tests.interleaving.choices import Choices

#: Whoever is due goes in the order of its rank: most at once, some behind others of the instant.
RANKS = (12, 2, 1)
#: More pauses than any run needs: it goes round in circles.
MOST_PAUSES = 60_000


class Killed(BaseException):
    """The actor's process is gone; nothing that it would still do happens."""


class Process(Protocol):
    """What several actors belong to."""

    dead: bool
    frozen_until: float


class Actor:
    """One thread of the play. `notes` is what others want to know of it."""

    def __init__(self, name: str, run: Callable[[], None], process: Process | None) -> None:
        self.name, self.run, self.process = name, run, process
        self.pauses = 0
        self.dead = self.done = False
        self.notes: dict[str, Any] = {}
        self.baton = threading.Semaphore(0)
        self.thread: threading.Thread | None = None

    @property
    def is_killed(self) -> bool:
        """Whether it is to end where it stands."""
        return self.dead or (self.process is not None and self.process.dead)


class Scheduler:
    """Who goes on, and when. The thread that makes it is the actor "main"."""

    def __init__(self, choose: Choices) -> None:
        self.choose = choose
        self.now = 0.0
        self.calm = False
        self.main = self.current = Actor("main", lambda: None, None)
        self.actors: list[Actor] = []
        self.error: BaseException | None = None
        self._heap: list[tuple[float, int, int, Actor | Callable[[], None]]] = []
        self._count = 0

    def start(self, name: str, run: Callable[[], None], process: Process | None = None) -> Actor:
        """A new actor, due at once."""
        actor = Actor(name, run, process)
        self.actors.append(actor)
        self._push(self.now, actor)
        return actor

    def at(self, instant: float, call: Callable[[], None]) -> None:
        """Call this then; it must not pause."""
        self._push(instant, call)

    def pause(self, seconds: float = 0.0) -> None:
        """Let others go on; the current actor is due again after so many seconds."""
        actor = self.current
        self._check(actor)
        self._push(self.now + max(seconds, 0.0), actor)
        self._go_on(actor)
        self._check(actor)

    def end(self) -> None:
        """End all actors but "main" where they stand."""
        self._heap.clear()
        self.error = None
        for actor in self.actors:
            actor.dead = True
            if actor.thread is not None and not actor.done:
                self._push(self.now, actor)
        self._push(self.now, self.main)
        self._go_on(self.main)

    def _check(self, actor: Actor) -> None:
        actor.pauses += 1
        if actor is self.main:
            if self.error is not None:
                raise self.error
        elif actor.is_killed:
            raise Killed
        elif actor.pauses > MOST_PAUSES:
            raise AssertionError(f"{actor.name} goes round in circles")

    def _push(self, instant: float, what: Actor | Callable[[], None]) -> None:
        rank = 0
        if isinstance(what, Actor) and what is not self.main and not self.calm:
            rank = self.choose(f"order {what.name} {what.pauses}", RANKS)
        self._count += 1
        heapq.heappush(self._heap, (instant, rank, self._count, what))

    def _go_on(self, me: Actor | None) -> None:
        """Hand the baton to whoever is due next; come back when it is here again."""
        while True:
            instant, _, _, what = heapq.heappop(self._heap)
            self.now = max(self.now, instant)
            if not isinstance(what, Actor):
                Context().run(what)  # whose thread this is has nothing to do with it
                continue
            frozen = what.process.frozen_until if what.process else 0.0
            if frozen > self.now and not what.is_killed:
                self._push(frozen, what)
                continue
            break
        self.current = what
        if what is me:
            return
        if what.thread is None and what is not self.main:
            what.thread = threading.Thread(target=self._run, args=(what,), daemon=True)
            what.thread.start()
        else:
            what.baton.release()
        if me is not None:
            me.baton.acquire()

    def _run(self, actor: Actor) -> None:
        try:
            if not actor.is_killed:
                actor.run()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  it is the main thread that tells it
            self.error = self.error or error
        actor.done = True
        if self.error is not None:
            self._push(self.now, self.main)
        self._go_on(None)
