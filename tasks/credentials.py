"""Which pair of key and secret goes along with a call, while two are valid for a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from pydantic import SecretStr

from config.accounts import Credentials

log = structlog.get_logger("credentials")

#: Seconds for which a pair that was refused is tried after the others.
REFUSED_SECONDS: Final = 60.0


class Pairs:
    """An account's pairs, for many threads at once.

    Args:
        pairs: the newer first.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, pairs: Sequence[Credentials], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pairs = tuple(pairs)
        self._clock = clock
        self._left_alone_until = [0.0] * len(self._pairs)

    def in_order(self) -> list[Credentials]:
        """The pairs to try: those that were refused lately come last."""
        now = self._clock()
        numbers = range(len(self._pairs))
        alone = self._left_alone_until
        return [self._pairs[n] for n in sorted(numbers, key=lambda n: (alone[n] > now, n))]

    def refused(self, pair: Credentials) -> None:
        """Note that the API refuses this one."""
        number = self._pairs.index(pair)
        now = self._clock()
        if len(self._pairs) > 1 and self._left_alone_until[number] <= now:
            log.warning("credentials refused", pair="newer" if number == 0 else "older")
        self._left_alone_until[number] = now + REFUSED_SECONDS

    def secrets(self) -> list[SecretStr]:
        """All that must be seen nowhere."""
        return [secret for pair in self._pairs for secret in (pair.key, pair.secret)]
