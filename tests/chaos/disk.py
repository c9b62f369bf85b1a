"""A Redis server's disk, without root: it gets full, or its power is cut.

Both are simulated. *Full*: the process may not let its files grow, so that the system refuses each
write as it does on a full disk (with another number: EFBIG, not ENOSPC). *A power cut*, with
everysec: the process is killed, and what it appended within the last 1.1 s is cut off its file.
That is the most that a cut takes while syncs are in time, one a second; what really is on the disk
is not known, as the servers that can be asked do not all tell the truth.
"""

from __future__ import annotations

import math
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from worker.stack import RedisServer, find_redis_server

#: With everysec, what was written within so many seconds may not be on the disk.
UNSYNCED_SECONDS = 1.1
#: Without this the server may begin another file.
ONE_FILE = ("--auto-aof-rewrite-percentage", "0")


def let_servers_see_full_disks(folder: Path) -> None:
    """Let servers that start from now on get an error, and no signal, for a write too much."""
    script = folder / "redis-server"
    script.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec '{find_redis_server()}' \"$@\"\n")
    script.chmod(0o755)
    os.environ["REDIS_SERVER"] = str(script)


class Disk:
    """The disk of a server with an append-only file that was started with ONE_FILE."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._client: Any = redis.Redis.from_url(server.url, decode_responses=True)
        told = self._client.config_get("dir", "appenddirname")
        self._folder = Path(told["dir"]) / told["appenddirname"]
        #: How much the power cuts took.
        self.lost_bytes = 0

    @property
    def file(self) -> Path:
        """What the server appends to."""
        [file] = self._folder.glob("*.incr.aof")
        return file

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte more while the block runs."""
        process = self._server.part.process.pid
        before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (self.file.stat().st_size, before[1]))
        yield
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    @contextmanager
    def with_power(self) -> Iterator[None]:
        """The server is to be killed at the end of the block; then its power is cut, too."""
        sizes: deque[tuple[float, int]] = deque([(-math.inf, 0)])
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                sizes.append((time.monotonic(), self.file.stat().st_size))

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        yield
        killed = time.monotonic()
        over.set()
        watching.join()
        synced = max(size for at, size in sizes if at <= killed - UNSYNCED_SECONDS)
        self.lost_bytes += self.file.stat().st_size - synced
        os.truncate(self.file, synced)
