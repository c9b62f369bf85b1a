"""What several threads ask a server for at the same time, asked in one round trip.

Whoever comes first waits some milliseconds for company, if others came just before; then one thread
asks for all. So a busy worker pays a part of a round trip for each call, and an idle one does not
wait.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from tasks.bounded import seconds_left

Asked = TypeVar("Asked")

#: Seconds for which company is waited for, and how many go together at most.
WAIT_SECONDS: Final = 0.003
MOST: Final = 100
#: Others are likely to come if the one before came less than so many seconds ago.
LIKELY_SECONDS: Final = 0.006
#: The longest that anybody waits for the one who asks, where no block of time bounds it.
LONGEST_SECONDS: Final = 60.0


def _own(error: BaseException) -> BaseException:
    """The same error for one thread alone, as each adds its frames."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__ or error.__context__
    return own


class _Call(Generic[Asked]):
    """One thread's question, and the answer once it is `done`."""

    __slots__ = ("answer", "asked", "done")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer: Any = NoAnswer()
        self.done = threading.Lock()
        self.done.acquire()


class NoAnswer(Exception):
    """The thread that asked for all has not come back in time."""


class Together(Generic[Asked]):
    """Questions that go together.

    Args:
        ask: returns the answers to all of them, in order; an exception among them is raised to the
            one whose it is. What it raises is raised to all.
    """

    def __init__(self, ask: Callable[[Sequence[Asked]], Sequence[Any]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: list[_Call[Asked]] = []
        self._came_at = 0.0

    def run(self, asked: Asked) -> Any:
        """The answer. Raises what `ask` raises, or `NoAnswer` if there is none in time."""
        call = _Call(asked)
        with self._lock:
            now = time.monotonic()
            is_likely, self._came_at = now - self._came_at < LIKELY_SECONDS, now
            self._waiting.append(call)
            is_first, is_last = len(self._waiting) == 1, len(self._waiting) >= MOST
            together = self._take() if is_last or (is_first and not is_likely) else None
        if together is None and is_first:
            time.sleep(WAIT_SECONDS)
            with self._lock:
                # Unless so many came that another has gone with all.
                together = self._take() if call in self._waiting else None
        if together is not None:
            self._go(together)
        elif not call.done.acquire(timeout=max(0.0, min(seconds_left(), LONGEST_SECONDS))):
            raise NoAnswer
        answer, call.answer = call.answer, None
        if isinstance(answer, BaseException):
            raise _own(answer)
        return answer

    def _take(self) -> list[_Call[Asked]]:
        together, self._waiting = self._waiting, []
        return together

    def _go(self, together: Sequence[_Call[Asked]]) -> None:
        try:
            answers = self._ask([call.asked for call in together])
            for call, answer in zip(together, answers, strict=True):
                call.answer = answer
        except Exception as error:  # noqa: BLE001  it is raised to all
            for call in together:
                call.answer = error
        finally:
            for call in together:
                call.done.release()
