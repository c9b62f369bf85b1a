"""After a new sealing key: what waits is sealed by it, and the old key can go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.errors import SealingUnavailable
from tasks.jobs import slices
from tasks.passwords import resealed
from tasks.record import JobRecord
from tasks.sealing import get_sealer
from tasks.store import get_store

#: Attempts at a job whose seal changes meanwhile, as another `reseal` runs.
ATTEMPTS: Final = 3
KEPT_PROBLEMS: Final = 100  # in a report


@dataclass
class Resealing:
    """What was done: how many passwords were resealed, and why others were not.

    `old_marks` counts by key the ended jobs whose passwords are compared by an old key.
    """

    resealed: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    old_marks: Counter[str] = field(default_factory=Counter)

    def run(self, on_done: Callable[[int], None]) -> None:
        """Seal each password with the newest key. `on_done` hears how many jobs were looked at.

        Workers and producers may be at work meanwhile; what they add with an older key is found by
        running it again.

        Raises `SealingUnavailable` without a key, or `StoreUnavailable`.
        """
        get_sealer().require()
        store, done = get_store(), 0
        for found in store.scan("job"):
            for ids in slices(found):
                some = [job for job in store.get_many(ids) if job.has_password]
                for job in store.with_passwords(some):
                    self._reseal(job)
                done += len(ids)
                on_done(done)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints; of the problems the first KEPT_PROBLEMS."""
        return {
            "resealed": self.resealed,
            "problem_count": self.problem_count,
            "problems": self.problems,
            "old_marks": dict(self.old_marks),
        }

    def _reseal(self, job: JobRecord) -> None:
        store = get_store()
        for _ in range(ATTEMPTS):
            try:
                new = resealed(job)
            except SealingUnavailable as error:
                return self._note(job, str(error))
            if new is None:
                return self._note_mark(job)
            if store.reseal(job, new.text, new.marks[0]):
                self.resealed += 1
                return None
            [job] = store.with_passwords(store.get_many([job.id])) or [job]
        return self._note(job, "It is being worked on: run this again.")

    def _note(self, job: JobRecord, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < KEPT_PROBLEMS:
            words = f"webhook {job.webhook_id!r} of app {job.app_id!r} (job {job.id})"
            self.problems.append(f"{words}: {problem}")

    def _note_mark(self, job: JobRecord) -> None:
        key_id = (job.mark or "").partition(".")[0]
        if job.sealed_password is None and key_id != get_sealer().ids[0]:
            self.old_marks[key_id] += 1
