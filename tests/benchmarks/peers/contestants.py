"""Who is compared, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.stack import ROOT

HERE: Final = Path(__file__).parent
APPS: Final = HERE / "apps"
#: Made by `make bench`, from `requirements.txt` beside this file.
PEERS: Final = ROOT / ".peers" / "bin"
#: The core of the worker alone, and that of all else.
WORKERS_CORE, OTHERS_CORE = 0, 1


@dataclass(frozen=True)
class Contestant:
    """One task queue.

    Args:
        name: as the tables have it.
        module: of `apps/`, which has `enqueue`.
        worker: the command of its worker.
        at_once: jobs at once; what has fewer gets fewer jobs.
        python: who runs the producer.
    """

    name: str
    module: str
    worker: Sequence[str]
    at_once: int = 64
    python: str = str(PEERS / "python")

    def pinned(self, command: Sequence[str], core: int) -> list[str]:
        """The command, on this core alone."""
        return [sys.executable, str(HERE / "pinned.py"), str(core), *command]


def _peer(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(PEERS / name), *arguments)


OURS: Final = Contestant(
    "this program",
    "on_ours",
    (sys.executable, "-m", "celery", "-A", "worker", "worker", "-n", "bench@stack"),
    python=sys.executable,
)
DRAMATIQ: Final = Contestant(
    "dramatiq", "on_dramatiq", _peer("dramatiq", "-p", "1", "-t", "64", "on_dramatiq")
)
TASKIQ: Final = Contestant(
    "taskiq",
    "on_taskiq",
    _peer("taskiq", "worker", "on_taskiq:broker", "-w", "1", "--max-async-tasks", "64"),
)
CONTESTANTS: Final = (
    OURS,
    Contestant(
        "Celery, threads",
        "on_celery",
        _peer("celery", "-A", "on_celery", "worker", "-P", "threads", "-c", "64"),
    ),
    DRAMATIQ,
    TASKIQ,
    Contestant("arq", "on_arq", _peer("arq", "on_arq.WorkerSettings")),
    Contestant(
        "RQ", "on_rq", _peer("rq", "worker", "-w", "rq.worker.SimpleWorker", "-q"), at_once=1
    ),
    Contestant("bare loop", "bare_loop", _peer("python", "bare_loop.py")),
)
