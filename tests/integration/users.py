"""A server with the Redis users that are shipped, and who is denied what there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.store import get_store
from tests.conftest import environment_kept, use_environment
from tests.sealed import KEYS
from worker.acl import acl_file, fresh_passwords
from worker.stack import HOST, RedisServer, Stack

USERS = ("producer", "worker", "beat", "flower", "operator")


class Guarded:
    """A server with the users that are shipped, without TLS: `tests/integration/test_guarded.py`
    has both."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._passwords = fresh_passwords()
        users = folder / f"users-{os.urandom(4).hex()}.acl"
        users.write_text(acl_file(self._passwords))
        self.server = RedisServer(folder, options=("--aclfile", str(users), *options))
        self.admin = self.client("admin")

    def url(self, user: str) -> str:
        password = self._passwords[user].get_secret_value()
        return f"redis://{user}:{password}@{HOST}:{self.server.port}/0"

    def client(self, user: str) -> Any:
        return redis.Redis.from_url(self.url(user), decode_responses=True)

    def be(self, user: str, **settings: str) -> None:
        """Let this process be one with this user, whose settings these are."""
        settings = {"ENQUEUE_DURABILITY": "", "REDIS_APPENDFSYNC": "", **settings}
        use_environment({"REDIS_URL": self.url(user), **settings})

    def denied(self) -> set[tuple[str, str]]:
        """What was denied since this was asked last: who and what."""
        told = {(entry["username"], entry["object"]) for entry in self.admin.acl_log()}
        self.admin.acl_log_reset()
        return told

    def everything(self) -> dict[str, bytes]:
        """All of the program's keys and what they hold."""
        with redis.Redis.from_url(self.url("admin")) as client:
            return {key: client.dump(key) for key in client.scan_iter("webhooks:*")}


@pytest.fixture(name="server", scope="module")
def server_fixture() -> Iterator[Guarded]:
    with environment_kept(), Stack() as stack:
        os.environ.update({name: stack.env[name] for name in KEYS})
        guarded = Guarded(stack.folder, "--appendfsync", "always")
        yield guarded
        guarded.server.end()


@pytest.fixture(name="guarded")
def guarded_fixture(server: Guarded) -> Guarded:
    """The same without data and complaints; a worker has loaded the steps."""
    server.admin.flushall()
    server.admin.function_flush()
    server.admin.script_flush()
    server.be("worker")
    get_store().prepare()
    server.denied()
    return server
