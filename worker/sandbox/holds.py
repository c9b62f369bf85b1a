"""The calls that wait until a control call releases them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any


class Holds:
    """The held calls, the oldest first."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._held: dict[int, tuple[dict[str, Any], asyncio.Future[bool]]] = {}

    def __len__(self) -> int:
        """How many calls are held now."""
        return len(self._held)

    def hold(self, about: dict[str, Any]) -> tuple[int, asyncio.Future[bool]]:
        """Begin to hold a call that `about` describes; return what `wait` asks for."""
        number = next(self._numbers)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held[number] = ({"hold": number, **about}, future)
        return number, future

    async def wait(self, ticket: tuple[int, asyncio.Future[bool]], seconds: float) -> bool:
        """Wait until the release, at most `seconds`; return False if the call shall be dropped."""
        number, future = ticket
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return True
        finally:
            self._held.pop(number, None)

    def held(self) -> list[dict[str, Any]]:
        """Return a description of each held call, with its number as `hold`."""
        return [about for about, _ in self._held.values()]

    def end(self, *, proceed: bool) -> int:
        """Let all held calls proceed, or drop them, and return how many they were."""
        ended = [*self._held.values()]
        self._held.clear()
        for _, future in ended:
            if not future.done():
                future.set_result(proceed)
        return len(ended)
