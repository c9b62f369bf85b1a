"""Producers that are killed at any instant, forked from a process that has all modules loaded.

What a producer knows to be accepted it writes to a file right after each call; where it is just
now (connecting, adding or between two calls) it says in a byte of another, so that a
kill can be aimed, and what was hit be told.
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

from tasks import Webhook, bounded, enqueue_webhook, enqueue_webhooks
from tasks.jobs import JobStore
from tests.conftest import use_environment

#: Where a producer is: the first byte of its progress is one of these, the others count how
#: often each was entered (modulo 256).
BETWEEN, CONNECTING, ADDING = STAGES = range(3)
NAMES: Final = ("between two steps", "connecting", "in the script")

#: The byte that says that the producer stands where it was to stop.
STANDS: Final = 1 + len(STAGES)

#: Seconds that a producer may take, however slow the machine.
PATIENCE: Final = 30.0
#: Bytes that the kernel takes of a large command at a time, so that some are cut in the middle.
SMALL_BUFFER: Final = 2_048


@dataclass(frozen=True)
class Stop:
    """A place within a producer's life.

    Args:
        stage: one of `STAGES`, but not the one between two.
        times: how often it has entered this stage then.
        behind: what the stage does is done, or it is about to begin.
    """

    stage: int
    times: int
    behind: bool


@dataclass(frozen=True)
class Play:
    """What one producer does.

    Args:
        items: the webhooks.
        together: how many are in one call; 1 for one by one.
        env: its environment.
        drips: it writes to Redis in small pieces.
        stop: where it stands still until it is killed.
    """

    items: Sequence[tuple[str, Webhook]]
    together: int
    env: Mapping[str, str]
    drips: bool = False
    stop: Stop | None = None

    def __reduce__(self) -> Any:
        """Its way to the other process: a webhook's password is not pickled by itself."""
        fields = [
            (app_id, webhook.wire(), webhook.password and webhook.password.get_secret_value())
            for app_id, webhook in self.items
        ]
        return _play, (fields, self.together, dict(self.env), self.drips, self.stop)


def _play(fields: Sequence[tuple[str, Mapping[str, Any], str | None]], *rest: Any) -> Play:
    items = [
        (app_id, Webhook.parse({**wire, "password": password})) for app_id, wire, password in fields
    ]
    return Play(items, *rest)


@dataclass
class Acknowledged:
    """What a producer wrote down: which items were accepted, and how many were said to be new."""

    numbers: set[int] = field(default_factory=set)
    new: int = 0


class Doomed:
    """A running producer.

    Args:
        folder: for its two files.
    """

    def __init__(self, play: Play, folder: Path, name: str) -> None:
        self._notes = folder / f"{name}.notes"
        progress = folder / f"{name}.progress"
        progress.write_bytes(bytes(1 + STANDS))
        with progress.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 0)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", __name__])
        self._process = context.Process(target=_produce, args=(play, self._notes, progress))
        self._process.start()
        self.stops = play.stop is not None

    def wait_for(self, stage: int, times: int) -> None:
        """Return once it has entered a stage so often, or has ended."""
        self._wait_until(lambda: self._progress[1 + stage] >= times)

    def wait_until_it_stands(self) -> None:
        """Return once it stands where it was to stop, or has ended."""
        self._wait_until(lambda: bool(self._progress[STANDS]))

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not is_so() and time.monotonic() < give_up:
            if self._process.exitcode is not None:
                return
            time.sleep(0.0001)

    def kill(self) -> str | None:
        """SIGKILL it; where it was hit, nothing if it had come to its end by then."""
        self._process.kill()
        self._process.join(PATIENCE)
        if self._process.exitcode not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"the producer ended by itself, {self._process.exitcode}")
        return NAMES[self._progress[0]] if self._process.exitcode else None

    def finish(self) -> bool:
        """Let it come to its end; whether it does."""
        self._process.join(PATIENCE)
        return self._process.exitcode == 0

    def acknowledged(self) -> Acknowledged:
        """What it wrote down."""
        found = Acknowledged()
        if self._notes.exists():
            for line in self._notes.read_text().splitlines():
                numbers, new = json.loads(line)
                found.numbers.update(numbers)
                found.new += new
        return found


def _produce(play: Play, notes: Path, progress: Path) -> None:
    """The producer's whole life."""
    use_environment(dict(play.env))
    with progress.open("r+b") as file:
        stages = mmap.mmap(file.fileno(), 0)
    book = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with _observed(stages, play):
        for first in range(0, len(play.items), play.together):
            some = play.items[first : first + play.together]
            if play.together == 1:
                enqueue_webhook(*some[0])
                said = [first], 0
            else:
                outcomes = enqueue_webhooks(some)
                accepted = [first + n for n, one in enumerate(outcomes) if one.error is None]
                said = accepted, sum(one.is_new for one in outcomes)
            os.write(book, json.dumps(said).encode() + b"\n")


@contextmanager
def _observed(stages: mmap.mmap, play: Play) -> Iterator[None]:
    """Keep the first byte true while the producer runs, and let it stop where it is to."""

    def stand(stage: int, *, behind: bool) -> None:
        if play.stop == Stop(stage, stages[1 + stage], behind):
            stages[STANDS] = 1
            time.sleep(PATIENCE)

    def during(stage: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **options: Any) -> Any:
            before = stages[0]
            stages[1 + stage] = (stages[1 + stage] + 1) % 256
            stages[0] = stage
            try:
                stand(stage, behind=False)
                found = call(*args, **options)
                stand(stage, behind=True)
                return found
            finally:
                stages[0] = before

        return observed

    kind: Any = bounded._BoundedConnection
    connect = kind._connect

    def connect_small(self: Any) -> Any:
        found = connect(self)
        if play.drips:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        return found

    with (
        mock.patch.object(kind, "_connect", during(CONNECTING, connect_small)),
        mock.patch.object(JobStore, "add", during(ADDING, JobStore.add)),
    ):
        yield


def kill_somewhere(doomed: Doomed, chance: random.Random, longest: float, calls: int) -> str | None:
    """Kill a producer where it stops, else at a random instant of its life or of a stage.

    Args:
        doomed: the producer.
        chance: decides the instant.
        longest: seconds that it would take.
        calls: how many calls it would make.

    Returns where it was hit; nothing if it had come to its end.
    """
    if doomed.stops:
        doomed.wait_until_it_stands()
    elif (stage := chance.choice([None, *STAGES[1:]])) is None:
        time.sleep(chance.uniform(0, 0.9 * longest))
    else:
        doomed.wait_for(stage, 1 if stage == CONNECTING else chance.randint(1, calls))
        time.sleep(0.003 * chance.random() ** 2)  # often within the stage, at times behind it
    return doomed.kill()
