"""What should not be in Redis, found and mended, beside workers that are at work.

Each job is judged in one Lua step that sees its record and all sets at one instant, and mends
what is wrong in that same step. So nothing looks wrong because a worker was between two steps,
and no worker is between the look and the mending.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from tasks.errors import StoreUnavailable
from tasks.jobs import JobStore, slices
from tasks.pipe import IDS, messages_in_queue
from tasks.store import WORKER_PATIENCE, get_store

#: A live dispatcher sees to what is overdue within this.
DISPATCHER_SECONDS: Final = 6.0

#: The records, then the sets in the order in which `judge.lua` looks for what has no record.
SOURCES: Final = ("job", "index", "failed", "untold", "waiting", "published", "running", "sealed")

#: What is wrong, and what --repair does about it.
KINDS: Final = {
    "misplaced": ("is not where it belongs: {}", "puts it there; nothing is run twice by it"),
    "no worker": ("runs, but its record names no worker", "lets it run again, reading back first"),
    "lease over": (
        "was run by {}, which is gone, and no worker seems to run",
        "lets it run again once a worker runs, reading back first",
    ),
    "hint lost": (
        "was to be run, its message is gone, and no worker seems to run",
        "lets it wait for a worker",
    ),
    "untold": (
        "has ended ({}), the result backend does not know, and no worker seems to run",
        "leaves that to a worker: start one, which tells it",
    ),
    "expires": ("would expire although it is {}", "keeps its record"),
    "never expires": ("has ended ({}), and its record would stay for ever", "lets it expire"),
    "not indexed": ("is missing in the index, so that `list` does not show it", "adds it"),
    "password kept": ("has ended ({}), and its sealed password is still there", "erases it"),
    "password lost": (
        "is {}, and its sealed password is gone",
        "leaves it alone: it fails; then forget it and enqueue its webhook again",
    ),
    "no record": ("has no record any more, but is in: {}", "takes the entries away"),
    "unreadable": (
        "has a record that cannot be read: {}",
        "leaves it alone: look at the key webhooks:job:{id} in Redis, correct or delete it, and "
        "repair again",
    ),
    "newer": (
        "has a record of a newer program: {}",
        "leaves it alone: workers of that version see to it",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one job.

    `kind` is one of KINDS, `problem` says what is wrong, `remedy` what `--repair` does about it,
    and `mended` whether that was done.
    """

    job_id: str
    kind: str
    problem: str
    remedy: str
    mended: bool

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self)


def find_problems(repair: bool = False) -> Iterator[Problem]:
    """Look at every record, set entry and hint; what is wrong, a job after the other.

    Args:
        repair: mend what can be mended. No job is lost and none runs twice by it; unreadable
            records are left alone.

    Memory does not grow with the number of jobs. It takes DISPATCHER_SECONDS longer if something
    is overdue, to see whether a worker comes for it.

    Raises `StoreUnavailable` when Redis or the broker cannot be reached.
    """
    store = get_store(WORKER_PATIENCE)
    store.clock()  # if Redis is away that is to be told, not that the broker is
    queued = _jobs_in_queue()
    unattended = _unattended(store, queued)
    for source in SOURCES:
        for found in store.scan(source):
            for ids in slices(found):
                findings = store.judge(
                    source, ids, queued=queued, unattended=unattended, mend=repair
                )
                for job_id, kind, details, mended in findings:
                    problem, remedy = KINDS[kind]
                    words = problem.format(details), remedy.replace("{id}", job_id)
                    yield Problem(job_id, kind, *words, bool(mended))


def _unattended(store: JobStore, queued: int) -> str:
    """The sets whose overdue entries no dispatcher sees to: the first one stays as it is."""
    before = store.unattended(queued=queued)
    if not before:
        return ""
    time.sleep(DISPATCHER_SECONDS)
    after = store.unattended(queued=_jobs_in_queue())
    return " ".join(place for place, _, _ in before & after)


def _jobs_in_queue() -> int:
    """How many jobs the messages in the queue hint at, at most."""
    try:
        return messages_in_queue() * IDS
    except Exception as error:  # noqa: BLE001  every broker has errors of its own
        problem = type(error).__name__
    raise StoreUnavailable(f"The broker cannot be asked for its messages ({problem}).")
