"""A worker's process: the program's own loops and attempts, that freeze, die, or are cut off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import Ignore, Retry

from config.celery_app import app
from tasks.errors import WebhookJobError
from tasks.pipe import TASK
from tests.interleaving.scheduler import Actor
from worker.dispatcher import Dispatcher, Wake

if TYPE_CHECKING:
    from tests.interleaving.world import World

#: Every worker of a host is called so: the Procfile names none, and --without-mingle hides it.
NAME: Final = "celery@host"
#: Attempts at once, and messages that wait for one of these.
SLOTS, PREFETCHED = 2, 2
#: A tick that failed is followed by the next after so many seconds (worker/watched.py).
TROUBLE_SECONDS = 1.0
#: After what disturbed a worker its leases may need so long to be renewed.
RECOVERY_SECONDS = 3.0


class Worker:
    """One process with its dispatcher, its prefetched messages and its attempts."""

    def __init__(self, world: World, label: str) -> None:
        self.world, self.label = world, label
        self.dead = self.leaving = False
        self.frozen_until = self.cut_until = 0.0
        #: Seconds for which it was suspended: its monotonic clock stood still.
        self.slept = 0.0
        #: Until then a lease of its may end without being anybody's fault.
        self.disturbed_until = -1.0
        self.received: list[str] = []
        self.running: list[str] = []
        self._begun = 0
        self._dispatcher = Dispatcher(SimpleNamespace(hostname=NAME))
        loops = (one for one in self._dispatcher._loops if not isinstance(one, Wake))
        for loop in loops:  # those that wake up by themselves
            name = f"{self.label}.{type(loop).__name__}"
            world.scheduler.start(name, self._loop(loop), self).notes["kind"] = "loop"

    @property
    def is_cut(self) -> bool:
        """Whether it reaches neither Redis nor the broker."""
        return self.cut_until > self.world.scheduler.now

    @property
    def room(self) -> int:
        """How many messages it would take now."""
        if self.dead or self.leaving or self.is_cut or self.frozen_until > self.world.scheduler.now:
            return 0
        return SLOTS + PREFETCHED - len(self.received) - len(self.running)

    def take(self, job_id: str) -> None:
        """A message comes."""
        self.received.append(job_id)
        self._begin()

    def freeze(self, seconds: float, *, is_suspended: bool) -> None:
        """Nothing of it goes on for so long."""
        now = self.world.scheduler.now
        self.world.tell(f"{self.label} {'sleeps' if is_suspended else 'is frozen'} for {seconds} s")
        self.frozen_until = now + seconds
        self.slept += seconds if is_suspended else 0.0
        self.disturb(seconds)
        self.world.scheduler.at(self.frozen_until, self.world.deliver)

    def cut(self, seconds: float) -> None:
        """It reaches no Redis for so long."""
        self.world.tell(f"{self.label} reaches no Redis for {seconds} s")
        self.cut_until = self.world.scheduler.now + seconds
        self.disturb(seconds)
        self.world.scheduler.at(self.cut_until, self.world.deliver)

    def disturb(self, seconds: float) -> None:
        """Nobody promises that it keeps its leases meanwhile."""
        until = self.world.scheduler.now + seconds + RECOVERY_SECONDS
        self.disturbed_until = max(self.disturbed_until, until)

    def die(self) -> None:
        """It is gone, and another one starts soon."""
        self.world.tell(f"{self.label} dies")
        self.dead = True
        self.world.scheduler.at(self.world.scheduler.now + 1.0, self.world.add_worker)

    def stop(self) -> None:
        """Its time is over: it gives back what it has, and ends, whatever is under way."""
        self.world.tell(f"{self.label} stops, with {self.world.labels(self.ids)}")
        self.leaving = True
        self.disturb(1000.0)
        self._dispatcher._hand_back(self.ids)
        self.die()

    @property
    def ids(self) -> list[str]:
        """What `received_ids` tells of it."""
        return [*self.received, *self.running]

    def _begin(self) -> None:
        while self.received and len(self.running) < SLOTS and not self.dead:
            job_id = self.received.pop(0)
            self.running.append(job_id)
            self._begun += 1
            name = f"{self.label}.{self._begun}"
            actor = self.world.scheduler.start(name, partial(self._run, job_id), self)
            actor.notes["kind"] = "attempt"

    def _run(self, job_id: str) -> None:
        """What `worker/attempts.py` does with one id, by the task of that name."""
        task: Any = app.tasks[TASK]
        task.push_request(id=job_id, hostname=NAME, args=(job_id,), called_directly=False)
        try:
            task.run(job_id)
        except (Ignore, Retry, WebhookJobError) as end:
            self.world.tell(f"ends: {type(end).__name__}")
        else:
            self.world.tell("ends: success")
        finally:
            task.pop_request()
        self.running.remove(job_id)
        self._begin()
        self.world.deliver()

    def _loop(self, loop: Any) -> Callable[[], None]:
        def run() -> None:
            while not self.leaving:
                try:
                    pause = loop.tick(self.world.stores.of_loops)
                except Exception as error:  # noqa: BLE001  as WatchedLoop does
                    self.world.tell(f"tick failed: {type(error).__name__}: {error}")
                    pause = TROUBLE_SECONDS
                self.world.scheduler.pause(max(pause, 0.05))

        return run


def worker_of(actor: Actor) -> Worker | None:
    """The process that an actor belongs to, if that is a worker's."""
    return actor.process if isinstance(actor.process, Worker) else None
