"""Servers that can give a durability, or cannot, and what enqueueing says then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import get_settings
from tasks import (
    DurabilityUnavailable,
    NotConfirmed,
    StoreUnavailable,
    Webhook,
    enqueue_webhook,
    enqueue_webhooks,
    get_job,
)
from tasks.durability import CONFIRM_SECONDS
from tasks.record import job_id
from tests.conftest import eventually, use_environment
from worker.stack import HOST, RedisServer, Stack

ORDER = Webhook(id="orders", name="Orders", webhook_url="https://x.example/orders")
ID = job_id("default", "shop", "orders")
EVERYSEC, ALWAYS = ("--appendfsync", "everysec"), ("--appendfsync", "always")
NEVER, NO_FILE = ("--appendfsync", "no"), ("--appendonly", "no")

#: The server of the tests without the command, and Debian's, which has none, where there is one.
WITHOUT_WAITAOF = [("", ("--rename-command", "WAITAOF", ""))]
if Path("/usr/bin/redis-server").exists():
    WITHOUT_WAITAOF.append(("/usr/bin/redis-server", ()))

Serve = Callable[..., RedisServer]


@pytest.fixture(name="serve")
def serve_fixture() -> Iterator[Serve]:
    """Starts servers with these options; this process is a producer of the latest primary."""
    servers = []
    with Stack() as stack:

        def start(*options: str) -> RedisServer:
            # A replica is in step at once, and not after the 5 s that others may take to come.
            at_once = "--repl-diskless-sync-delay", "0"
            server = RedisServer(stack.folder, options=(*at_once, *options))
            servers.append(server)
            if "--replicaof" not in options:
                use_environment({"REDIS_URL": server.url, "ENQUEUE_DURABILITY": ""})
            return server

        yield start
        for server in servers:
            server.kill()
    os.environ.pop("ENQUEUE_DURABILITY")
    get_settings.cache_clear()


@pytest.fixture(name="impatient", autouse=True)
def impatient_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmation that does not come is given up sooner."""
    monkeypatch.setattr("tasks.durability.CONFIRM_SECONDS", 0.5)


@pytest.fixture(name="patient")
def patient_fixture(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes a second, as it does with everysec, comes in time."""
    monkeypatch.setattr("tasks.durability.CONFIRM_SECONDS", CONFIRM_SECONDS)


def client_of(server: RedisServer) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


def replica_of(server: RedisServer, serve: Serve) -> RedisServer:
    replica = serve("--replicaof", f"{HOST} {server.port}")
    with client_of(server).client() as primary:
        eventually(lambda: primary.info("replication").get("slave0", {}).get("state") == "online")
        primary.set("first", "")
        assert primary.wait(1, 10_000) == 1  # its first answer takes a second
    return replica


def calls(server: RedisServer, command: str) -> int:
    told = client_of(server).info("commandstats").get(f"cmdstat_{command}", {})
    return int(told.get("calls", 0)) - int(told.get("rejected_calls", 0))


def many(count: int) -> list[tuple[str, Webhook]]:
    url = "https://x.example/hook"
    return [
        (f"shop-{n // 20}", Webhook(id=f"w{n % 20}", name="W", webhook_url=url))
        for n in range(count)
    ]


def refused(durability: Any) -> str:
    """The words of a refusal that leaves nothing behind."""
    with pytest.raises(DurabilityUnavailable) as error:
        enqueue_webhook("shop", ORDER, durability=durability)
    with pytest.raises(DurabilityUnavailable):
        enqueue_webhooks([("shop", ORDER)], durability=durability)
    with redis.Redis.from_url(get_settings().redis_url.get_secret_value()) as client:
        assert client.dbsize() == 0
    return str(error.value)


def unconfirmed(durability: Any) -> str:
    """The words of what is recorded and not confirmed."""
    with pytest.raises(NotConfirmed) as error:
        enqueue_webhook("shop", ORDER, durability=durability)
    assert isinstance(error.value, StoreUnavailable)
    assert error.value.job.id == ID
    assert get_job(ID).state == "PENDING"
    assert ID in str(error.value) and str(error.value).startswith("Recorded, not confirmed")
    return str(error.value)
