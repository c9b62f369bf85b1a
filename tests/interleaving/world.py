"""All that a run consists of, and the hooks by which the program's own code gets into it.

The code is stopped where it reaches out: at every command to Redis (`Connection.run`), at every
call (`Transport.send`) and when it sleeps. In the place of the broker is a list with one job a
message. The loop `Wake` is left out: each dispatcher looks again and again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

from tasks.record import JobRecord
from tests.interleaving.api import Api
from tests.interleaving.choices import Choices
from tests.interleaving.clock import Ids, LocalTime, RedisClock
from tests.interleaving.judge import Judge
from tests.interleaving.scheduler import Actor, Scheduler
from tests.interleaving.worker import Worker, worker_of

ACCOUNTS: Final = ("default", "acme")
#: What may become of a command of an attempt, of a worker's loop, of a producer or a person.
FATES: Final = {
    "attempt": ("goes", "lost", "late", "frozen", "asleep", "held up", "cut", "dies"),
    "loop": ("goes", "lost", "late"),
    "person": ("goes", "lost", "late"),
}
WEIGHTS: Final = {
    "attempt": (100, 4, 4, 3, 1, 3, 3, 1),
    "loop": (150, 1, 1),
    "person": (30, 1, 1),
}
LATE: Final = (0.3, 0.02, 1.0)
LONG: Final = (8.0, 4.0, 25.0, 13.0)
#: So many workers are disturbed in a run: more would hide what the first ones did.
MOST_TROUBLES: Final = 4


class Stores:
    """The process's stores, which all workers share: they hold a connection and no state."""

    def __init__(self, make: Callable[[float], Any]) -> None:
        self.of_loops = make(0.5)


class World:
    """One run's actors, clocks, API and judge."""

    def __init__(self, client: Any, choose: Choices, stores: Stores, *, shows: bool) -> None:
        self.redis, self.choose, self.stores = client, choose, stores
        self.accounts = ACCOUNTS
        self.scheduler = Scheduler(choose)
        self.clock, self.time = RedisClock(self.scheduler, client), LocalTime(self.scheduler)
        self.ids, self.calm, self.shows = Ids(), False, shows
        self.judge, self.api = Judge(self), Api(self)
        self.workers: list[Worker] = []
        self.queue: list[str] = []
        self.story: list[str] = []
        self.executed = 0
        self._troubles = self._delivered = 0
        self._begins = ""
        self._labels: dict[str, str] = {}

    # What is told of a run.

    def tell(self, what: str) -> None:
        """A line of the story, if it is to be shown."""
        if self.shows:
            self.story.append(f"{self.scheduler.now:9.3f}  {self.scheduler.current.name}: {what}")

    def label(self, job_id: str, kind: str = "job") -> str:
        """A short name for a job."""
        return self._labels.setdefault(job_id, f"{kind}-{len(self._labels) + 1}")

    def labels(self, job_ids: Sequence[str]) -> str:
        """Short names for jobs."""
        return " ".join(map(self.label, job_ids)) or "nothing"

    # Workers and the pipe.

    def add_worker(self) -> None:
        """One more process."""
        self._begins = f"w{len(self.workers) + 1}"
        self.workers.append(Worker(self, self._begins))
        self._begins = ""
        self.deliver()

    def process_name(self) -> str:
        """The process that the present code runs in."""
        worker = worker_of(self.scheduler.current)
        return self._begins or (worker.label if worker else self.scheduler.current.name)

    def publish(self, hints: Sequence[str], **__: Any) -> bool:
        """In the place of `tasks.pipe.publish`."""
        worker = worker_of(self.scheduler.current)
        if worker and worker.is_cut:
            return False
        for job_id in hints:
            if self.calm or not self.choose(f"message {self.executed} {len(self.queue)}", (40, 1)):
                self.queue.append(job_id)
        self.deliver()
        return True

    def queued(self) -> int:
        """In the place of `messages_in_queue`."""
        worker = worker_of(self.scheduler.current)
        if worker and worker.is_cut:
            raise ConnectionError("cut")
        return len(self.queue)

    def received_ids(self) -> list[str]:
        """In the place of Celery's own book-keeping."""
        worker = worker_of(self.scheduler.current)
        return worker.ids if worker else []

    def deliver(self) -> None:
        """Messages go to whichever worker has room."""
        while self.queue:
            takers = [worker for worker in self.workers if worker.room > 0]
            if not takers:
                return
            takers.sort(key=lambda worker: -worker.room)
            self._delivered += 1
            weights = (4,) + (1,) * (len(takers) - 1)
            chosen = 0 if self.calm else self.choose(f"delivery {self._delivered}", weights)
            takers[chosen].take(self.queue.pop(0))

    # Leaving: in the place of `tasks.create_webhook.leaving`.

    def is_set(self) -> bool:
        """Whether the current worker has handed back its jobs."""
        worker = worker_of(self.scheduler.current)
        return worker is not None and worker.leaving

    def wait(self, seconds: float) -> bool:
        """Sleep; a worker that leaves ends."""
        self.scheduler.pause(seconds)
        return self.is_set()

    def set(self) -> None:
        """Workers are made to leave by `Worker.stop` alone."""

    # Redis.

    def command(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run one command or step, whatever becomes of it and its answer."""
        actor = self.scheduler.current
        name = str(args[1]) if call.__name__ == "run" else call.__name__
        if actor is self.scheduler.main:
            return self._execute(call, name, *args, **options)
        fate = self._fate(actor, name)
        worker = worker_of(actor)
        if fate == "late":
            self.scheduler.pause(LATE[self.choose(f"late {actor.name} {actor.pauses}", (2, 1, 1))])
        elif fate in ("frozen", "asleep", "held up", "cut"):
            self._disturb(actor, fate)
        else:
            self.scheduler.pause()
        if worker and worker.is_cut:
            raise redis.ConnectionError("cut")
        self.judge.before(actor, name)
        answer = self._execute(call, name, *args, **options)
        self.judge.after(actor, name, answer)
        self.tell(f"{name}{'' if name in ('run', 'read') else ' -> ' + _short(answer)} ({fate})")
        if fate == "lost":
            self.scheduler.pause(0.001)
            raise redis.ConnectionError("the answer was lost")
        if fate == "dies" and worker:
            worker.die()
            self.scheduler.pause()
        if fate in ("frozen", "asleep") and worker and worker.frozen_until > self.scheduler.now:
            self.scheduler.pause()
        return answer

    def _fate(self, actor: Actor, name: str) -> str:
        kind = actor.notes.get("kind", "person")
        if self.calm or (kind == "attempt" and "attempt" not in actor.notes and name == "claim"):
            return "goes"
        fate = FATES[kind][self.choose(f"{name} {actor.name} {actor.pauses}", WEIGHTS[kind])]
        if fate in ("frozen", "asleep", "held up", "cut", "dies"):
            self._troubles += 1
            if self._troubles > MOST_TROUBLES:
                return "goes"
        return fate

    def _disturb(self, actor: Actor, fate: str) -> None:
        worker = worker_of(actor)
        key = f"{actor.name} {actor.pauses}"
        seconds = LONG[self.choose(f"long {key}", (3, 2, 2, 2))]
        if worker is None or fate == "held up":
            # This thread alone: others of its process keep its lease.
            self.scheduler.pause(seconds)
        elif fate == "cut":
            worker.cut(seconds)
            self.scheduler.pause()
        else:
            worker.freeze(seconds, is_suspended=fate == "asleep")
            if self.choose(f"behind {key}", (1, 1)):
                return  # it wakes with the answer
            self.scheduler.pause()

    def _execute(self, call: Callable[..., Any], name: str, *args: Any, **options: Any) -> Any:
        if name == "time":
            return self.clock.parts()
        self.clock.show()
        self.executed += 1
        return call(*args, **options)

    def claimed(self, record: JobRecord | None) -> None:
        """The current attempt has got this."""
        if record is not None and self.scheduler.current is not self.scheduler.main:
            self.scheduler.current.notes["attempt"] = record
            self.judge.claims(self.scheduler.current, record)

    def jump(self, seconds: float) -> None:
        """So much time goes by in which nothing goes on anywhere."""
        self.tell(f"{seconds} s go by")
        self.judge.look()
        for worker in self.workers:
            worker.disturb(seconds)
        self.scheduler.now += seconds

    def idle_until(self) -> float:
        """When the next job that waits is due, if nothing goes on until then."""
        if self.queue or any(worker.ids for worker in self.workers if not worker.dead):
            return self.scheduler.now
        pipe = self.redis.pipeline(transaction=False)
        for key in ("published", "running"):
            pipe.zcard(f"webhooks:{key}")
        pipe.zrange("webhooks:waiting", 0, 0, withscores=True)
        published, running, first = pipe.execute()
        if published or running or not first:
            return self.scheduler.now
        return float(self.scheduler.now + max(first[0][1] - self.clock.now, 0.0))


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) < 90 else text[:87] + "..."
