"""Secrets that occur nowhere else, the places where they could get to, and the search for them."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
import requests

from config.sealing_keys import new_pair
from tests.conftest import SentrySink
from tests.integration.commands import REPOSITORY
from worker.guarded import GuardedRedis
from worker.stack import Stack

#: What no secret of ours gets into: others' files, and those of tests that run beside this one.
LEFT_OUT = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


class Canaries:
    """A fresh value for each secret, by its name, and each form in which it would tell itself."""

    def __init__(self) -> None:
        public, private = new_pair()
        self.public_key = public.get_secret_value()
        self.values = {
            "key": f"{secrets.token_hex(12)}/+",
            "secret": f"{secrets.token_hex(12)}=:",
            "old key": secrets.token_hex(12),
            "old secret": secrets.token_hex(12),
            "basic-auth password": secrets.token_hex(12),
            "private sealing key": private.get_secret_value(),
            "Flower's login": secrets.token_hex(12),
            "Flower's cookie secret": secrets.token_hex(12),
        }

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def seen_in(self, texts: Iterable[bytes]) -> set[str]:
        """Which secrets the texts have, and in which form."""
        needles = {
            form: name
            for secret, value in self.values.items()
            for form, name in _forms(value, secret).items()
        }
        found = re.compile(b"|".join(map(re.escape, needles))).findall
        return {needles[needle] for text in texts for needle in found(text)}


def _forms(value: str, name: str) -> dict[bytes, str]:
    """What is searched for: the longest part that no escaping changes, as it is and encoded."""
    core = max(re.findall(r"[A-Za-z0-9_-]+", value), key=len).encode()
    assert len(core) >= 12
    forms = {
        core: f"{name}, plain",
        core[::-1]: f"{name}, backwards",
        core.hex().encode(): f"{name}, hex",
        core.hex().upper().encode(): f"{name}, HEX",
    }
    for offset in range(3):
        whole = slice(-(-offset * 8 // 6), (offset + len(core)) * 8 // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms[encode(bytes(offset) + core)[whole]] = f"{name}, base64"
    return forms


class Monitor(threading.Thread):
    """All commands that a Redis server gets, as MONITOR tells them."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        # For as long as the server gets none.
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self._connection: Any = self._client.connection_pool.get_connection()
        self._connection.send_command("MONITOR")
        assert self._connection.read_response() == b"OK"
        self.lines: list[bytes] = []
        self.start()

    def run(self) -> None:
        with suppress(redis.ConnectionError, OSError, ValueError, AttributeError):
            while True:
                self.lines.append(self._connection.read_response())


class Events(threading.Thread):
    """Celery's events, as they pass through Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._subscription: Any = redis.Redis.from_url(url).pubsub()
        self._subscription.psubscribe("*celeryev*")
        self.bodies: list[bytes] = []
        self.start()

    def run(self) -> None:
        with suppress(redis.ConnectionError, OSError, ValueError, AttributeError):
            for message in self._subscription.listen():
                if message["type"] == "pmessage":
                    body = json.loads(message["data"])["body"]
                    self.bodies.append(base64.b64decode(body))


class Processes(threading.Thread):
    """The command lines, and so the titles, of all processes that there are at some time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.lines: set[bytes] = set()
        self.start()

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                self.lines.add((process / "cmdline").read_bytes())


class Places:
    """All that others may read of a running stack."""

    def __init__(self, stack: Stack, server: GuardedRedis, sentry: SentrySink) -> None:
        self._stack, self._sentry = stack, sentry
        self.admin: Any = redis.Redis.from_url(server.url)
        self._url = server.url
        self.monitor, self.events = Monitor(server.url), Events(server.url)
        self.processes = Processes()
        #: What each page of Flower showed.
        self.pages: dict[str, bytes] = {}
        self._began = time.time() - 1

    def by_name(self) -> dict[str, Callable[[], Iterable[bytes]]]:
        """What reads each place."""
        return {
            "Redis's keys": self._keys,
            "results": self._results,
            "commands to Redis": lambda: self.monitor.lines,
            "the append-only file": self._append_only_file,
            "output and logs": self._logs,
            "Celery's events": lambda: self.events.bodies,
            "Sentry": lambda: self._sentry.raw,
            "Flower's pages": lambda: self.pages.values(),
            "metrics": lambda: [self.pages.get("/metrics", b"")],
            "command lines": lambda: self.processes.lines,
            "files": self._files,
        }

    def fetch_pages(self, url: str, paths: Iterable[str], login: tuple[str, str]) -> None:
        for path in paths:
            self.pages[path] = requests.get(url + path, auth=login, timeout=10).content

    def database(self, number: int) -> redis.Redis:
        return redis.Redis.from_url(self._url.replace("/0?", f"/{number}?"))

    def _keys(self) -> Iterator[bytes]:
        for database in range(int(self.admin.config_get("databases")["databases"])):
            with self.database(database) as client:
                yield from _all_of(client)

    def _results(self) -> Iterator[bytes]:
        yield from (self.admin.get(key) for key in self.admin.keys("celery-task-meta-*"))

    def _append_only_file(self) -> Iterator[bytes]:
        yield from (file.read_bytes() for file in self._stack.folder.rglob("*.aof"))

    def _logs(self) -> Iterator[bytes]:
        yield from (file.read_bytes() for file in self._stack.folder.rglob("*.log"))

    def _files(self) -> Iterator[bytes]:
        """What was written below the stack's folder, and the working directory."""
        for top in (self._stack.folder, REPOSITORY):
            for folder, folders, files in os.walk(top):
                folders[:] = [name for name in folders if name not in LEFT_OUT]
                for name in files:
                    with suppress(OSError):
                        path = Path(folder, name)
                        if path.stat().st_mtime >= self._began:
                            yield path.read_bytes()


def _all_of(client: redis.Redis) -> Iterator[bytes]:
    """Names and contents of all keys of a database."""
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    for key in client.scan_iter(count=1_000):
        kind = client.type(key)
        yield key
        if kind != b"none":
            yield from _flat(read[kind](key))


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = [*value.items()]
    if isinstance(value, (list, tuple, set)):
        for one in value:
            yield from _flat(one)
    elif value is not None:
        yield value if isinstance(value, bytes) else str(value).encode()
