"""The Lua steps, as a Redis server has them.

A server keeps scripts in memory and runs those it has by their hashes; a restart, a fail-over or
SCRIPT FLUSH loses them. Who may load scripts loads all steps as soon as one is missing: so they are
there for producers, whose users should not be able to bring scripts of their own.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis

LUA: Final = Path(__file__).parent / "lua"
#: What is put before every step.
PRELUDE: Final = ("prelude", "order", "chain", "moves", "gate", "breaker")

#: Scripts of other programs, which are loaded along: who needs them should not load any, either.
OTHERS: Final[list[str]] = []


#: The hash of no script.
NONE: Final = "0" * 40


class StepsMissing(redis.RedisError):
    """The server does not have this version's steps, and this user may not load them."""


class Steps:
    """All steps of this version.

    Args:
        prefix: of all keys; the steps get it as their only key.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        prelude = "".join((LUA / f"{name}.lua").read_text() for name in PRELUDE)
        paths = (path for path in LUA.glob("*.lua") if path.stem not in PRELUDE)
        self._texts = {path.stem: prelude + path.read_text() for path in paths}
        self._hashes = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._texts.items()
        }

    def run(self, client: Any, name: str, args: tuple[str | float, ...]) -> Any:
        """What the step answers. Raises `StepsMissing`, and what redis-py raises."""
        call = self._hashes[name], 1, self._prefix, *args
        try:
            return client.evalsha(*call)
        except redis.exceptions.NoScriptError:
            pass
        try:
            self.load(client)
        except redis.exceptions.NoPermissionError as error:
            if "script" not in str(error):  # another right, of which its own words tell
                raise
        else:
            return client.evalsha(*call)
        raise StepsMissing

    def find(self, client: Any) -> None:
        """Make sure that the server has all steps, and may be asked to run them: load them if it
        has not.
        """
        with suppress(redis.exceptions.NoScriptError):
            client.evalsha(NONE, 0)
        if not all(client.script_exists(*self._hashes.values())):
            self.load(client)

    def load(self, client: Any) -> None:
        """Load all or none: whoever finds one of them there may count on the others."""
        pipe = client.pipeline(transaction=True)
        for text in (*self._texts.values(), *OTHERS):
            pipe.script_load(text)
        pipe.execute()
