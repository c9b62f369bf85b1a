"""Failed jobs, taken up again: a selection of them or all, at once or at a rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from tasks.errors import InvalidInput
from tasks.job import Job
from tasks.jobs import STEP_LIMIT, JobStore
from tasks.outcome import retold
from tasks.record import JobRecord
from tasks.selection import ALL, Selection
from tasks.store import get_store

#: So many jobs are shown by name before they are taken up again.
SHOWN_FIRST: Final = 5

#: Jobs a second; below it a mistake is more likely.
SLOWEST: Final = 1 / 86_400


@dataclass(slots=True)
class Preview:
    """What `retry_failed_jobs` would take up, as of now.

    `selection` is the one that was asked for, closed at this instant: what fails later is not
    in it. `by_failure` counts by class and code, `first` are those whose turn comes first, and
    `last_due` is when that of the last one comes.
    """

    selection: Selection
    last_due: datetime
    count: int = 0
    by_failure: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    first: list[Job] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "would_retry": self.count,
            "by_failure": [
                {"class": failure, "code": code, "jobs": jobs}
                for (failure, code), jobs in self.by_failure.most_common()
            ],
            "first": [job.id for job in self.first],
            "last_due_at": self.last_due.isoformat(),
        }


def preview_retry(selection: Selection = ALL, *, rate_per_second: float | None = None) -> Preview:
    """Say which failed jobs would be taken up again, and change nothing.

    Raises:
        InvalidInput: the rate is below one a day.
        StoreUnavailable: Redis cannot be reached.
    """
    spacing = _spacing(rate_per_second)
    store = get_store()
    now = store.clock()
    preview = Preview(replace(selection, until=_end(selection, now)), _aware(now))
    for job in _chosen(store, preview.selection):
        error = job.error or {}
        preview.by_failure[str(error.get("class")), error.get("code")] += 1
        preview.count += 1
        if preview.count <= SHOWN_FIRST:
            preview.first.append(Job(job, store))
    preview.last_due = _aware(now + spacing * max(preview.count - 1, 0))
    return preview


def retry_failed_jobs(
    selection: Selection = ALL,
    *,
    rate_per_second: float | None = None,
    on_taken: Callable[[int], None] = lambda number: None,
) -> int:
    """Take up failed jobs again, those that failed first at first, with all attempts anew.

    Each keeps its history. One that is not failed any more when its turn comes stays as it is, and
    so do one whose time (`expires_in`) is over and one that a later job of its webhook follows.

    Args:
        selection: which; by default all.
        rate_per_second: how many become due in a second; each waits in Redis until its time,
            so this process need not stay. By default all are due at once.
        on_taken: is told of each step how many jobs it took up.

    Returns:
        How many were taken up.

    Raises:
        InvalidInput: the rate is below one a day; nothing was changed.
        StoreUnavailable: Redis cannot be reached; the rest is as it was.
    """
    spacing = _spacing(rate_per_second)
    store = get_store()
    now = store.clock()
    # What fails meanwhile is not taken up a second time.
    chosen = _chosen(store, replace(selection, until=_end(selection, now)))
    due, count = now, 0
    while ids := [job.id for job in islice(chosen, STEP_LIMIT)]:
        taken = take_up(store, ids, how="fresh", due=due, spacing=spacing).count("PENDING")
        on_taken(taken)
        count += taken
        # Redis's clock may have passed the first one's turn: the next follow the last all the same.
        due = max(due, store.clock()) + spacing * len(ids)
    return count


def take_up(
    store: JobStore,
    job_ids: Sequence[str],
    *,
    how: Literal["fresh", "last", "once"],
    due: float = 0.0,
    spacing: float = 0.0,
) -> list[str]:
    """Take ended jobs up again as `JobStore.retry` does, and let the result backend say so."""
    states = store.retry(job_ids, how=how, due=due, spacing=spacing)
    waits: Literal["PENDING", "RETRY"] = "RETRY" if how == "once" else "PENDING"
    taken = [one for one, state in zip(job_ids, states, strict=True) if state == waits]
    retold(store, taken, waits)
    return states


def _chosen(store: JobStore, selection: Selection) -> Iterator[JobRecord]:
    now = store.clock()
    walk = store.walk("failed", since=selection.begin, until=selection.end, oldest_first=True)
    may = (job for job in walk if not job.is_expired(now) and job.followed_by is None)
    return (job for job in may if selection.fits(job))


def _end(selection: Selection, now: float) -> float:
    """What fails from now on is not meant; none is, if the selection begins later still."""
    return max(min(selection.end, now), selection.begin)


def _spacing(rate_per_second: float | None) -> float:
    """Seconds from one job's due time to the next one's."""
    if rate_per_second is None:
        return 0.0
    if not rate_per_second >= SLOWEST:  # NaN is not above it either
        problem = "must be at least one a day"
        raise InvalidInput(f"rate_per_second: {problem}", {"rate_per_second": problem})
    return 1.0 / rate_per_second


def _aware(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
