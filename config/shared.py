"""What a process makes once, and all of its threads share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

Made = TypeVar("Made")
Given = ParamSpec("Given")


class shared(Generic[Given, Made]):
    """Like `functools.cache`, but threads that ask at the same time all get the same one, and a
    process that was forked off gets one of its own.

    `cache` gives each of them one of its own, as the first is not made yet when the others ask: a
    worker whose first jobs came together had as many pools of connections as threads.

    Args:
        make: what makes it. Threads that come at the same time may each run it; all but one of
            the results are thrown away, so it opens nothing. As `__wrapped__` it is there to be
            called for one that nobody shares.
    """

    def __init__(self, make: Callable[Given, Made]) -> None:
        self.__wrapped__ = make
        self._made: dict[object, Made] = {}
        self.__doc__ = make.__doc__

    def __call__(self, *args: Given.args, **options: Given.kwargs) -> Made:
        """What was made for these arguments. Raises what `make` raises."""
        asked = (os.getpid(), args, *options.items())
        try:
            return self._made[asked]
        except KeyError:
            pass
        return self._made.setdefault(asked, self.__wrapped__(*args, **options))

    def cache_clear(self) -> None:
        """Let it be made anew."""
        self._made.clear()
