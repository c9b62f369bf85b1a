"""What has arrived: a bounded log of calls, counts, and the wait for a count."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from worker.sandbox.routes import Operation
from worker.sandbox.tally import Tally
from worker.sandbox.triggers import Version

#: How many calls the log keeps.
LOG_LENGTH: Final = 10_000


@dataclass(slots=True)
class Entry:
    """One call of the log; status and fault are None until the call has been answered.

    `time` is in unix seconds; `status` stays None where the client got no status; `fault` is the
    label of the rule that fired.
    """

    time: float
    operation: Operation
    app_id: str
    webhook_id: str
    version: Version | None
    user_agent: str | None
    status: int | None = None
    fault: str | None = None


class Journal:
    """The log and the counts of calls, each counted at its arrival."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=LOG_LENGTH)
        self.by_operation: Counter[str] = Counter()
        self.tally = Tally()
        self.total = 0
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def arrived(
        self,
        operation: Operation,
        app_id: str,
        webhook_id: str,
        version: Version | None,
        user_agent: str | None,
    ) -> Entry:
        """Log and count a call; the caller fills in how it ended."""
        entry = Entry(time.time(), operation, app_id, webhook_id, version, user_agent)
        self.entries.append(entry)
        self.by_operation[operation] += 1
        self.tally.arrived(entry.time)
        self.total += 1
        self.changed()
        return entry

    def answered(self, entry: Entry) -> None:
        """Count how the call ended, which is filled in by now."""
        self.tally.answered(entry.time, entry.status)

    def calls(self, operation: str | None) -> int:
        """Return how many calls have arrived, of one operation or of all."""
        return self.total if operation is None else self.by_operation[operation]

    def last(self, limit: int) -> list[dict[str, Any]]:
        """Return the last `limit` calls of the log, the oldest first."""
        first = max(0, len(self.entries) - limit)
        return [asdict(self.entries[at]) for at in range(first, len(self.entries))]

    def changed(self) -> None:
        """Wake those that wait for what is now true."""
        if not self._waiters:
            return
        for holds, future in self._waiters:
            if not future.done() and holds():
                future.set_result(None)

    async def until(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Wait until `holds` is true, at most `timeout` seconds; return whether it became so."""
        if holds():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(future, timeout)
        finally:
            self._waiters.remove(waiter)
        return holds()

    def clear(self) -> None:
        """Forget all calls; those who wait go on waiting."""
        self.entries.clear()
        self.by_operation.clear()
        self.tally.clear()
        self.total = 0
