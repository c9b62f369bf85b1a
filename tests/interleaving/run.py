"""One run: a play, the calm behind it, and what is found broken."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import redis

from tasks.clients import get_api
from tasks.outcome import note_successes
from tasks.store import get_store
from tests.interleaving.choices import Choices, Made, shorter
from tests.interleaving.hooks import ENVIRONMENT, Hooks
from tests.interleaving.people import PLAYS, People
from tests.interleaving.verdict import verdict
from tests.interleaving.world import Stores, World

#: Everything has come to rest within so many seconds after the last fault.
REST_SECONDS: Final = 3_000.0
#: Longer than any record of an ended job is kept.
KEPT_SECONDS: Final = float(ENVIRONMENT["RESULT_TTL"]) + 1.0


@dataclass
class Run:
    """What came of one run."""

    seed: int
    play: str
    broken: list[str]
    made: Made
    excused: int
    commands: int
    story: list[str]


class Stage:
    """A Redis server, and the program made ready for one run after the other."""

    def __init__(self, url: str, hooks: Hooks) -> None:
        self._hooks = hooks
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._stores = Stores(get_store.__wrapped__)

    def run(
        self,
        seed: int,
        *,
        play: str | None = None,
        forced: Mapping[str, int] | None = None,
        shows: bool = False,
    ) -> Run:
        """The run of this seed, or with these decisions alone (`forced`)."""
        choose = Choices(seed, forced)
        name = play or [*PLAYS][Choices(seed)("play", [weight for _, weight in PLAYS.values()])]
        self._client.flushall()
        get_api.cache_clear()
        random.seed(seed)
        world = self._hooks.world = World(self._client, choose, self._stores, shows=shows)
        try:
            broken = self._play(world, name)
        finally:
            world.scheduler.end()
            self._hooks.world = None
            note_successes(self._stores.of_loops)  # else they were told in the next run
        return Run(
            seed, name, broken, choose.made, world.judge.excused, world.executed, world.story
        )

    def check(self, seeds: Iterable[int], *, play: str | None = None) -> int:
        """Run all of these; how many there were.

        Raises `AssertionError` with the shortest history that breaks what the first one broke.
        """
        number = 0
        for seed in seeds:
            number += 1
            run = self.run(seed, play=play)
            if run.broken:
                again = f"python -m tests.interleaving --seed {seed} --play {run.play}"
                raise AssertionError(f"{again}\n{told(self.shortest(run))}")
        return number

    def _play(self, world: World, name: str) -> list[str]:
        for _ in range(2):
            world.add_worker()
        PLAYS[name][0](world)
        people = [actor for actor in world.scheduler.actors if actor.process is None]
        while any(not actor.done for actor in people):
            world.scheduler.pause(1.0)
        self._rest(world)
        if name in ("life", "again", "triggers") and not world.judge.broken:
            world.judge.look()
            if world.choose("records expire", (1, 1)):
                world.jump(KEPT_SECONDS)
            People(world).start("the last create", 0.0, People(world).create)
            world.scheduler.pause(1.0)
            self._rest(world)
        # A key that ends at an instant lives longer by what the clock was set back.
        kept = KEPT_SECONDS - world.clock.skew
        found = verdict(world, pipe_size=int(ENVIRONMENT["PIPE_SIZE"]), result_ttl=int(kept))
        return world.judge.broken or list(found)

    def _rest(self, world: World) -> None:
        """From here on all goes well; wait until nothing is left to do."""
        world.calm = world.scheduler.calm = True
        world.api.refused.clear()
        until = world.scheduler.now + REST_SECONDS
        while world.scheduler.now < until and not world.judge.broken:
            if self._is_at_rest(world):
                return
            if (idle := world.idle_until()) > world.scheduler.now + 3.0:
                world.jump(idle - world.scheduler.now)
            world.scheduler.pause(2.0)

    def _is_at_rest(self, world: World) -> bool:
        if any(worker.ids for worker in world.workers if not worker.dead):
            return False
        pipe = self._client.pipeline(transaction=False)
        for place in ("waiting", "published", "running", "untold"):
            pipe.zcard(f"webhooks:{place}")
        return not any(pipe.execute()) and all(call.is_over for call in world.api.calls)

    def shortest(self, found: Run) -> Run:
        """The same fault, by as few decisions as were found."""
        kind = kind_of(found)

        def is_broken(made: Made) -> bool:
            again = self.run(found.seed, play=found.play, forced=made)
            return kind_of(again) == kind

        made = shorter(found.made, is_broken)
        return self.run(found.seed, play=found.play, forced=made, shows=True)


def told(run: Run) -> str:
    """A run as a person reads it."""
    made = "\n".join(f"    {name} = {value}" for name, value in run.made.items())
    story = "\n".join(run.story)
    broken = "\n".join(f"BROKEN: {words}" for words in run.broken) or "all promises were kept"
    return f"seed {run.seed}, play {run.play}, decisions:\n{made}\n\n{story}\n\n{broken}"


def kind_of(run: Run) -> str:
    """The first words of what is broken, without names and numbers."""
    if not run.broken:
        return ""
    return " ".join(re.findall(r"\b[A-Za-z]+\b(?![-.])", run.broken[0].split(":")[0]))


@contextmanager
def staged(url: str) -> Iterator[Stage]:
    """A stage on this server, which is emptied by each run."""
    from tests.conftest import environment_kept, use_environment

    with environment_kept():
        use_environment({"REDIS_URL": url, **ENVIRONMENT})
        with Hooks() as hooks:
            yield Stage(url, hooks)
