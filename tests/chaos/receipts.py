"""Loaded into a worker, this notes which messages it received, and so what it held when killed.

Nothing else tells: a message that nobody claimed leaves no trace.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from celery import signals

from tasks.record import JobRecord

#: Options of a worker that notes what it receives.
RECEIPTS = ("-I", "tests.chaos.receipts")

#: The folder, in the environment; a file for each worker is in it.
FOLDER = "CHAOS_RECEIPTS"


def _path(folder: str, worker: str) -> Path:
    return Path(folder) / f"{worker}.receipts"


def read_receipts(folder: Path, worker: str) -> Iterator[tuple[str, float]]:
    """The id and the time of each message that this worker received."""
    path = _path(str(folder), worker)
    for line in path.read_text().splitlines() if path.exists() else ():
        job_id, _, at = line.partition(" ")
        if at:  # the last line may be half a line
            yield job_id, float(at)


def run_again_after(
    records: Iterable[JobRecord], killed: Mapping[str, Sequence[float]], folder: Path
) -> Iterator[float]:
    """For each attempt that died with its worker: seconds until the job ran again.

    Where another worker was killed meanwhile that had received the job, they count from then.

    Args:
        killed: when each worker, or a process of its pool, was killed.
        folder: where the workers' notes are.
    """
    met: dict[str, list[tuple[float, float]]] = {}
    for worker, kills in killed.items():
        for job, at in read_receipts(folder, worker):
            met.setdefault(job, []).extend((at, kill) for kill in kills)
    for record in records:
        for entry, following in zip(record.history, record.history[1:], strict=False):
            began, again = entry.get("at", 0.0), following["at"]
            own = [k for k in killed.get(entry.get("worker", ""), ()) if began <= k <= again]
            if entry["outcome"] == "lost" and own:
                others = [k for at, k in met.get(record.id, ()) if began <= at <= k <= again]
                yield again - max([own[0], *others])


if FOLDER in os.environ:
    _file: list[int] = []

    @signals.celeryd_after_setup.connect
    def _open(sender: str, **_: Any) -> None:
        path = _path(os.environ[FOLDER], sender)
        _file.append(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))

    @signals.task_received.connect
    def _note(request: Any, **_: Any) -> None:
        os.write(_file[0], f"{request.id} {time.time()}\n".encode())
