"""How many creates a second the sandbox answers: `python -m tests.benchmarks.bench_sandbox`.

The sandbox runs on one core and the load on another; 32 connections are kept alive, each sends
the next create, into an app of its own, when it has the answer to the last.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from urllib.parse import urlsplit

from worker.sandbox import running_sandbox

CONNECTIONS = 32
BODY = (
    b'{"id":"hook1","name":"A webhook","webhookURL":"https://example.com/hook",'
    b'"useBasicAuth":true,"username":"u","password":"p","enabled":true,"retryOnFailure":true}'
)
HEAD = (
    "POST /apps/app{}/webhooks HTTP/1.1\r\nHost: sandbox\r\nkey: sandbox-key\r\n"
    "secret: sandbox-secret\r\nX-Webhook-Version: 2\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
)


class Client(asyncio.Protocol):
    """Sends creates until `until` (of the monotonic clock), one after the other."""

    def __init__(self, numbers: itertools.count[int], until: float) -> None:
        self.numbers = numbers
        self.until = until
        self.answered = 0
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 "), data
        self.answered += 1
        if time.monotonic() < self.until:
            self.send()
        else:
            self.transport.close()
            self.finished.set_result(None)

    def send(self) -> None:
        self.transport.write(HEAD.format(next(self.numbers)).encode() + BODY)


async def load(base_url: str, seconds: float) -> float:
    """Return the answers a second."""
    url = urlsplit(base_url)
    numbers = itertools.count()
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(
            lambda: Client(numbers, started + seconds), url.hostname, url.port
        )
        clients.append(client)
    await asyncio.gather(*(client.finished for client in clients))
    return sum(client.answered for client in clients) / (time.monotonic() - started)


if __name__ == "__main__":
    first, *others = sorted(os.sched_getaffinity(0))
    with running_sandbox() as sandbox:
        os.sched_setaffinity(sandbox.process.pid, {first})
        os.sched_setaffinity(0, set(others) or {first})
        rate = asyncio.run(load(sandbox.base_url, seconds=5))
        created = len(sandbox.control.webhooks())
    print(f"{rate:,.0f} creates a second; {created:,} webhooks in the store")
