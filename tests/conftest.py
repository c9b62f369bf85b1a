"""What the tests run on: a Redis server, the sandbox, a worker and a Sentry sink, all real."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import kombu.pools
import pytest

from config.accounts import DEFAULT as ACCOUNT
from config.settings import get_settings
from tasks.broker import get_pool
from tasks.clients import get_api
from tasks.create_webhook import get_policy
from tasks.jobs import JobStore
from tasks.sealing import get_sealer
from tasks.store import get_store
from worker.sandbox import RunningSandbox, SandboxControl, running_sandbox
from worker.stack import RedisServer, Stack

#: Retries that are over within seconds; the formulas are the production ones.
FAST = {
    "RETRY_BASE_SECONDS": "0.05",
    "RETRY_MAX_DELAY_SECONDS": "0.2",
    "RETRY_MAX_ATTEMPTS": "4",
    "RETRY_MAX_AGE": "0.3",
    "APP_NOT_FOUND_SECONDS": "1",
    "COMETCHAT_CONNECT_TIMEOUT": "1",
    "COMETCHAT_READ_TIMEOUT": "2",
    "LOG_LEVEL": "info",
}


#: Of Celery's settings, those that depend on where its broker and results are.
CONNECTING = (
    *("broker_url", "broker_transport_options", "broker_use_ssl"),
    *("result_backend", "result_backend_transport_options", "redis_backend_use_ssl"),
)


def use_environment(env: dict[str, str]) -> None:
    """Let this process be a producer of the stack with this environment."""
    from config.celery_app import app, configuration

    before = app.conf.broker_url, app.conf.result_backend
    os.environ.update(env)
    forget_settings()
    settings = get_settings()
    if before == (settings.broker_url, settings.result_backend):
        return
    anew = configuration(settings)
    app.conf.update({name: anew[name] for name in CONNECTING})
    app.conf.update(broker_read_url=None, broker_write_url=None)
    # Celery keeps its connections for the process's life; the tests have several brokers.
    kombu.pools.reset()
    app._pool = app.amqp._producer_pool = app._backend_cache = None
    app._local.__dict__.pop("backend", None)


def forget_settings() -> None:
    """Let everything be made anew from the environment."""
    for cached in (get_settings, get_store, get_sealer, get_api, get_policy, get_pool):
        cached.cache_clear()


@contextmanager
def environment_kept() -> Iterator[None]:
    """What is set within is not for what comes later, nor for the stacks that it starts."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)
        forget_settings()


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    with environment_kept():
        yield


def eventually(
    is_so: Callable[[], Any], seconds: float = 10.0, *, every: float = 0.02, what: str = "so"
) -> Any:
    """What `is_so` returns once it is true; fails after so many seconds."""
    give_up = time.monotonic() + seconds
    while not (value := is_so()):
        assert time.monotonic() < give_up, f"in {seconds} s it was not {what}"
        time.sleep(every)
    return value


class SentrySink:
    """Receives what the real SDK's real transport sends, over HTTP."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.raw.append(body)
                lines = body.split(b"\n")
                for header, payload in pairwise(lines):
                    if header.startswith(b"{") and json.loads(header).get("type") == "event":
                        sink.events.append(json.loads(payload))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://public@127.0.0.1:{self.server.server_port}/1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, app_id: str) -> list[dict[str, Any]]:
        """The events about this app's jobs."""
        return [event for event in self.events if event.get("tags", {}).get("app") == app_id]


@pytest.fixture(scope="session")
def sentry() -> Iterator[SentrySink]:
    sink = SentrySink()
    yield sink
    sink.server.shutdown()


@pytest.fixture(scope="session")
def stack(sentry: SentrySink) -> Iterator[Stack]:
    """Redis, the sandbox and one worker, shared by the tests; each uses apps of its own."""
    with Stack(**FAST, SENTRY_DSN=sentry.dsn) as stack:
        stack.start_redis()
        stack.start_sandbox()
        worker = stack.start_worker("worker", "-I", "tests.faulty")
        worker.wait_for(lambda: " ready." in worker.output())
        yield stack


@pytest.fixture(scope="session")
def sandbox_of_stack(stack: Stack) -> SandboxControl:
    return SandboxControl(stack.env["COMETCHAT_BASE_URL"])


@pytest.fixture
def sandbox(stack: Stack, sandbox_of_stack: SandboxControl) -> SandboxControl:
    """The stack's sandbox without faults; this process is a producer of the stack."""
    use_environment(stack.env)
    cancel_all()  # jobs of earlier tests, whose calls would tell the gate something
    sandbox_of_stack.reset()
    open_gate(stack.env["REDIS_URL"])
    return sandbox_of_stack


@pytest.fixture(scope="session")
def lent_sandbox() -> Iterator[RunningSandbox]:
    """For the tests that have all else of their own: it forgets at once, and starts slowly."""
    with running_sandbox() as running:
        yield running


@contextmanager
def own_stack(lent: RunningSandbox, **settings: str) -> Iterator[Stack]:
    """A stack without a worker, its sandbox knowing nothing; this process is its producer."""
    lent.control.reset()
    with Stack(COMETCHAT_BASE_URL=lent.base_url, **settings) as stack:
        stack.start_redis()
        use_environment(stack.env)
        yield stack


def cancel_all() -> None:
    """End all jobs that wait."""
    store = get_store()
    for place in ("waiting", "published"):
        for ids in store.scan(place):
            for job in ids:
                store.cancel(job)


def open_gate(url: str) -> None:
    """Let the gate know nothing of what others did to the API."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.delete(f"webhooks:gate:{ACCOUNT}")


@pytest.fixture
def app_id(request: pytest.FixtureRequest) -> str:
    """An app that no other test uses."""
    return f"{request.node.originalname[:60]}-{os.urandom(4).hex()}".replace("[", "-")


@pytest.fixture(scope="session")
def bare_redis() -> Iterator[RedisServer]:
    """A Redis server without any worker."""
    with Stack() as stack:
        yield stack.start_redis("--appendonly", "no")


@pytest.fixture
def redis_server(bare_redis: RedisServer) -> Iterator[str]:
    """The URL of an empty Redis without a worker; this process is its producer."""
    import redis

    with redis.Redis.from_url(bare_redis.url) as client:
        client.flushall()
    use_environment({"REDIS_URL": bare_redis.url})
    yield bare_redis.url


@pytest.fixture
def store(redis_server: str) -> JobStore:
    return get_store()
