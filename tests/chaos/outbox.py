"""The two examples of `docs/transactions.md`, killed at random instants.

The children are forked by a server that has loaded the program and holds no connection, so that
a kill costs hundredths of a second. What they had committed is then compared with the jobs that
are in Redis.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import redis

from docs.examples import after_commit, outbox
from tasks import Webhook
from tasks.jobs import PREFIX
from tasks.record import job_id
from tests.conftest import use_environment
from worker.stack import GUARDED, Stack

URL: Final = "https://shop.example.com/hook"
PASSWORD: Final = "Geheim123"

#: A child lives for so many rounds of its work at most, and for so many seconds of the next one.
ROUNDS: Final = 8
LONGEST_ROUND: Final = 0.01

#: The database, the life's name, and what to call at the beginning of each round.
Work = Callable[[str, str, Callable[[], None]], None]


@dataclass(frozen=True)
class Kills:
    """What the kills left behind, and what became of it.

    `kills` children were killed that had `committed` so many signups. Of these, so many were
    `halfway` in the end of a life: for the outbox a row not yet moved whose job existed already,
    else a signup without its job. In the end `lost` signups had no job, and `unasked` jobs had no
    signup.
    """

    kills: int
    committed: int
    halfway: int
    lost: int
    unasked: int


def webhook(number: int) -> Webhook:
    """What a signup asks for; every third one has a password."""
    credentials = {"username": "chat", "password": PASSWORD} if number % 3 == 0 else {}
    return Webhook.parse({"id": "orders", "name": "Orders", "webhookURL": URL, **credentials})


def sign_up_and_move(path: str, life: str, begin: Callable[[], None]) -> None:
    """A child of the outbox: signs up a few, moves them a few at a time, for ever."""
    chance = random.Random(life)
    with closing(outbox.connect(path)) as db:
        for number in count():
            begin()
            outbox.sign_up(db, f"shop-{life}-{number}", webhook(number))
            if chance.random() < 0.5:
                outbox.move(db, lambda _: PASSWORD, most=3)


def sign_up_and_enqueue(path: str, life: str, begin: Callable[[], None]) -> None:
    """A child of the other example."""
    with closing(after_commit.connect(path)) as db:
        for number in count():
            begin()
            after_commit.sign_up(db, f"shop-{life}-{number}", URL)


def run_outbox_kills(kills: int, seed: int) -> Kills:
    """Kill so many children of the outbox, and let one finish what they left."""
    with _Ground() as stack:
        jobs = Jobs(stack.env["REDIS_URL"])
        path = str(stack.folder / "shop.db")
        halfway: set[str] = set()
        for _ in _lives(kills, seed, sign_up_and_move, path, stack.env):
            with closing(outbox.connect(path)) as db:
                left = {app for (app,) in db.execute("SELECT app_id FROM webhook_outbox")}
            halfway |= left & jobs.apps()
        use_environment(stack.env)
        with closing(outbox.connect(path)) as db:
            while outbox.move(db, lambda _: PASSWORD):
                pass
            assert db.execute("SELECT * FROM webhook_outbox").fetchall() == []
            shops = {app for (app,) in db.execute("SELECT app_id FROM shops")}
        return _kills(kills, shops, jobs.apps(), len(halfway))


def run_after_commit_kills(kills: int, seed: int) -> Kills:
    """Kill so many children of the other example, and sweep.

    Raises `AssertionError` if a life lost more than the signup that was under way.
    """
    with _Ground() as stack:
        jobs = Jobs(stack.env["REDIS_URL"])
        path = str(stack.folder / "shop.db")
        lost: set[str] = set()
        for life in _lives(kills, seed, sign_up_and_enqueue, path, stack.env):
            with closing(after_commit.connect(path)) as db:
                shops = [app for (app,) in db.execute("SELECT app_id FROM shops ORDER BY rowid")]
            missing = set(shops) - jobs.apps() - lost
            assert missing <= set(shops[-1:]), f"life {life} lost {missing}"
            lost |= missing
        use_environment(stack.env)
        with closing(after_commit.connect(path)) as db:
            assert after_commit.sweep(db) == len(lost)
            assert after_commit.sweep(db) == 0
        return _kills(kills, set(shops), jobs.apps(), len(lost))


def _kills(kills: int, shops: set[str], apps: set[str], halfway: int) -> Kills:
    return Kills(kills, len(shops), halfway, len(shops - apps), len(apps - shops))


class _Ground(Stack):
    """A Redis; nobody runs the jobs."""

    def __init__(self) -> None:
        super().__init__(LOG_LEVEL="critical", **{GUARDED: ""})
        self.start_redis("--appendonly", "no")


class Jobs:
    """The jobs in Redis, read without the program."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, decode_responses=True)

    def count(self) -> int:
        """How many there are."""
        return int(self._redis.zcard(f"{PREFIX}index"))

    def apps(self) -> set[str]:
        """The apps of all jobs; each has one, which is in one place."""
        ids = self._redis.zrange(f"{PREFIX}index", 0, -1)
        records = [self._redis.hgetall(f"{PREFIX}job:{each}") for each in ids]
        places = [f"{PREFIX}{place}" for place in ("waiting", "published")]
        there = [each for place in places for each in self._redis.zrange(place, 0, -1)]
        assert sorted(there) == sorted(ids), "a job is in no place or in two"
        start = f"{PREFIX}sealed:"
        sealed = {key.removeprefix(start) for key in self._redis.scan_iter(f"{start}*")}
        for each, record in zip(ids, records, strict=True):
            asked = json.loads(record["webhook"])
            assert each == job_id("default", record["app_id"], asked["id"])
            assert ("mark" in record) == ("username" in asked) == (each in sealed)
        return {record["app_id"] for record in records}


def _lives(kills: int, seed: int, work: Work, path: str, env: Mapping[str, str]) -> Iterator[str]:
    """Children that work, each killed at a random instant; what comes back names the life."""
    chance = random.Random(seed)
    for number in range(kills):
        life = f"{seed}-{number}"
        with child(work, path, life, env) as (process, begun):
            for _ in range(chance.randint(1, ROUNDS)):
                assert begun.poll(30), "the child does not work"
                begun.recv()
            time.sleep(chance.uniform(0, LONGEST_ROUND))  # until the instant to kill it
            assert process.is_alive(), "the child ended by itself"
        yield life


@contextmanager
def child(
    work: Work, path: str, life: str, env: Mapping[str, str]
) -> Iterator[tuple[BaseProcess, Connection]]:
    """A child that works, and what it says at the beginning of each round; killed in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_live, args=(theirs, work, path, life, dict(env)), daemon=True)
    process.start()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def _live(begun: Connection, work: Work, path: str, life: str, env: dict[str, str]) -> None:
    use_environment(env)
    work(path, life, lambda: begun.send(None))
