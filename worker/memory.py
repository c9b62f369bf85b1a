"""What keeps a worker's memory flat, however long it runs."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any

#: <malloc.h>: how many arenas glibc's allocator may have.
M_ARENA_MAX = -8
#: Threads of Python take turns, so that they need no arena each, as they would have (eight for a
#: core): what is free in one cannot be used in another, and a worker grows by that for hours.
ARENAS = 2


def bound_arenas() -> None:
    """Let the allocator have few arenas; MALLOC_ARENA_MAX, if set, stays what counts.

    To be called before threads start. Where the allocator is not glibc's, nothing happens.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def drop_traceback(retval: Any = None, **_: Any) -> None:
    """Let what an attempt or a task raised be freed at once; a receiver of Celery's `task_postrun`.

    Its traceback holds a frame whose variables hold the exception: a ring that stays until the
    collector comes. By now it has been logged, stored and reported.
    """
    if isinstance(retval, BaseException):
        retval.__traceback__ = None
