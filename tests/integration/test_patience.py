"""A Redis that refuses for a while: steps wait for it to pass, and say why if it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from tasks import StoreUnavailable
from tasks.jobs import JobStore
from tasks.record import NewJob, job_id
from tests.chaos.disk import ONE_FILE, Disk, let_servers_see_full_disks
from tests.conftest import eventually
from worker.stack import HOST, RedisServer, Stack, free_port

#: What the tests run on, and Debian's server, which words things in its own way, where it is.
SERVERS = ["", *(path for path in ("/usr/bin/redis-server",) if Path(path).exists())]

JOB = NewJob(
    job_id("default", "app", "orders"),
    0,
    "default",
    "app",
    {"id": "orders", "name": "Orders", "webhookURL": "https://a.example/", "enabled": True},
    None,
    2,
)


class Place:
    """A server, and a way to let it refuse."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.client: Any = redis.Redis.from_url(server.url, decode_responses=True)

    def store(self, patience: float) -> JobStore:
        url = SecretStr(self.server.url)
        return JobStore(url, pipe_size=8, result_ttl=60, patience=patience)

    @contextmanager
    def setting(self, name: str, value: object) -> Iterator[None]:
        before = self.client.config_get(name)[name]
        self.client.config_set(name, value)
        yield
        self.client.config_set(name, before)

    @contextmanager
    def as_replica(self) -> Iterator[None]:
        self.client.replicaof(HOST, free_port())
        yield
        self.client.replicaof("NO", "ONE")

    @contextmanager
    def busy(self) -> Iterator[None]:
        def loop() -> None:
            with suppress(redis.RedisError):
                redis.Redis.from_url(self.server.url).eval("while true do end", 0)

        def is_busy() -> bool:
            try:
                return not self.client.ping()
            except redis.RedisError:
                return True

        with self.setting("lua-time-limit", 50):
            running = threading.Thread(target=loop)
            running.start()
            eventually(is_busy)
            yield
            self.client.script_kill()
            running.join()


REFUSALS: dict[str, Callable[[Place], Any]] = {
    "maxmemory": lambda place: place.setting("maxmemory", 1),
    "MISCONF.*File too large": lambda place: Disk(place.server).full(),
    "read.only replica": lambda place: place.as_replica(),
    "NOREPLICAS": lambda place: place.setting("min-replicas-to-write", 1),
    "BUSY": lambda place: place.busy(),
}


@pytest.fixture(scope="module", params=SERVERS, ids=["own", "debian"][: len(SERVERS)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One server for all, so started that it sees a full disk."""
    before = os.environ.get("REDIS_SERVER")
    if request.param:
        os.environ["REDIS_SERVER"] = request.param
    with Stack() as stack:
        let_servers_see_full_disks(stack.folder)
        server = stack.start_redis(*ONE_FILE)
        os.environ.pop("REDIS_SERVER")
        if before is not None:
            os.environ["REDIS_SERVER"] = before
        yield Place(server)


@pytest.mark.parametrize("words", REFUSALS)
def test_a_refusal_is_told_and_leaves_nothing(place: Place, words: str) -> None:
    place.client.flushall()
    with REFUSALS[words](place):
        if words.startswith("MISCONF"):
            # Redis finds out by a write that it answers; and refuses from then on.
            place.client.set("first", "")
            eventually(lambda: place.client.info("persistence")["aof_last_write_status"] == "err")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=words):
            place.store(patience=0.3).add([JOB])
        assert time.monotonic() - began < 3
    eventually(lambda: place.client.info("persistence")["aof_last_write_status"] == "ok")
    assert place.client.keys("webhooks:*") == []


@pytest.mark.parametrize("words", REFUSALS)
def test_one_that_passes_is_waited_for(place: Place, words: str) -> None:
    place.client.flushall()
    answers: list[Any] = []
    adding = threading.Thread(target=lambda: answers.append(place.store(patience=20).add([JOB])))
    with REFUSALS[words](place):
        if words.startswith("MISCONF"):
            place.client.set("first", "")
            eventually(lambda: place.client.info("persistence")["aof_last_write_status"] == "err")
        adding.start()
        adding.join(0.5)
        assert adding.is_alive()
    adding.join(20)
    [([added], confirmed)] = answers
    assert added.record.id == JOB.id and confirmed


def test_an_older_servers_words_are_known() -> None:
    """Redis 6.2 wraps the error in one of its own, when a script met it."""
    from tasks.refusals import REFUSES

    for word in ("-READONLY You can't write", "-OOM command not allowed", "-MISCONF Errors"):
        assert REFUSES.search(f"ERR Error running script (call to f_1): @user_script:3: {word}")
    assert not REFUSES.search("WRONGTYPE Operation against a key")
