"""Which apps exist, and since when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


class AppRegistry:
    """The apps of the account.

    Args:
        apps: the ids of all apps that exist; None for "every id exists".
        appears_after: seconds between an app's making and its first being seen. An app is made
            when it is added, or, where every id exists, at the first call that names it.
        clock: returns seconds that only grow.
    """

    def __init__(
        self,
        apps: Iterable[str] | None = None,
        appears_after: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._open = apps is None
        self._removed: set[str] = set()
        self._seen_from: dict[str, float] = {}
        self.appears_after = appears_after
        for app_id in apps or ():
            self.add(app_id)

    def add(self, app_id: str, after: float | None = None) -> None:
        """Make the app; calls find it `after` seconds from now, `appears_after` when None."""
        delay = self.appears_after if after is None else after
        self._removed.discard(app_id)
        self._seen_from[app_id] = self._clock() + delay

    def remove(self, app_id: str) -> None:
        """Take the app away, also where every id exists."""
        self._seen_from.pop(app_id, None)
        self._removed.add(app_id)

    def exists(self, app_id: str) -> bool:
        """Return whether calls find the app now."""
        if app_id in self._removed:
            return False
        if self._open and self.appears_after > 0:
            self._seen_from.setdefault(app_id, self._clock() + self.appears_after)
        seen_from = self._seen_from.get(app_id)
        if seen_from is None:
            return self._open
        return self._clock() >= seen_from
