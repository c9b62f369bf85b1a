"""The atomic steps, as one library of functions in a Redis server.

`lua/` has them as source: what several use (`LIBRARY`, in this order) and a file for each step. A
step's file says what it takes, `--: name(first, second, others...)`; `run` takes arguments of
these names, the last one being a list if dots follow. Behind the bracket is a flag of Redis's, or
"grows".

The library belongs to the server's data: it is in the append-only file and goes to replicas. Who
may load it does so when it is missing. Its name has the version of the records' layout and a hash
of the source, so that two releases work side by side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis

from config.shared import shared

LUA: Final = Path(__file__).parent / "lua"
LIBRARY: Final = ("records", "order", "chain", "moves", "gate", "breaker")
#: Of all keys.
PREFIX: Final = "webhooks:"
#: Of the library's name: the version of the records' layout is in it.
NAME: Final = "webhooks_1"
_ANY: Final = "webhooks_*"

_HEAD: Final = re.compile(r"^--: (\w+)\(([^)]*?)(\.\.\.)?\) ?([\w-]*)$", re.MULTILINE)
#: While its memory is full Redis refuses what writes, but for functions with this flag. What brings
#: new jobs ("grows") has it not; what ends them makes room.
_WHILE_FULL: Final = "allow-oom"
_STEP: Final = """do
local function step(arguments)
begin()
{names}{body}
end
redis.register_function{{
  function_name='{name}',
  flags={{{flags}}},
  callback=function(_, arguments) return step(arguments) end
}}
end
"""


_IS_HERE: Final = """redis.register_function{{
  function_name='{name}', flags={{'no-writes'}}, callback=function() return 1 end
}}
"""


class StepsMissing(redis.RedisError):
    """The server does not have this version's steps, and this user may not load them."""


class _Step:
    """A step's source.

    Args:
        text: of its file.
    """

    def __init__(self, text: str) -> None:
        [(self.name, names, has_rest, flags)] = _HEAD.findall(text)
        self.names: tuple[str, ...] = tuple(re.findall(r"\w+", names))
        self._has_rest, self._flags, self._body = bool(has_rest), flags or _WHILE_FULL, text

    def registered(self, library: str) -> str:
        """The Lua that makes a function of the library of it."""
        single = self.names[: -1 if self._has_rest else None]
        names = ""
        if single:
            values = ", ".join(f"arguments[{place}]" for place in range(1, len(single) + 1))
            names = f"local {', '.join(single)} = {values}\n"
        if self._has_rest:
            names += f"local {self.names[-1]} = rest(arguments, {len(single) + 1})\n"
        flags = "" if self._flags == "grows" else f"'{self._flags}'"
        name = f"{library}_{self.name}"
        return _STEP.format(names=names, body=self._body, name=name, flags=flags)

    def ordered(self, arguments: Mapping[str, Any]) -> Sequence[Any]:
        """The arguments in their order. Raises `TypeError` if these are not their names."""
        if arguments.keys() != set(self.names):
            raise TypeError(f"{self.name} takes {self.names}, not {(*arguments,)}")
        values = [arguments[name] for name in self.names]
        return [*values[:-1], *values[-1]] if self._has_rest else values


class Steps:
    """All steps of this version."""

    def __init__(self) -> None:
        shared = f"local PREFIX = '{PREFIX}'\n{shared_source()}"
        paths = sorted(path for path in LUA.glob("*.lua") if path.stem not in LIBRARY)
        steps = [_Step(path.read_text()) for path in paths]
        source = shared + "".join(step.registered("_") for step in steps)
        digest = hashlib.sha256(source.encode()).hexdigest()[:8]
        self.library = f"{NAME}_{digest}"
        self._is_here = f"{self.library}_is_here"
        parts = [step.registered(self.library) for step in steps]
        parts.append(_IS_HERE.format(name=self._is_here))
        self._source = f"#!lua name={self.library}\n{shared}{''.join(parts)}"
        self._steps = {step.name: (f"{self.library}_{step.name}", step) for step in steps}

    def run(self, client: Any, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the step answers. Raises `StepsMissing`, and what redis-py raises."""
        function, step = self._steps[name]
        call = function, 0, *step.ordered(arguments)
        try:
            return client.fcall(*call)
        except redis.ResponseError as error:
            if not is_missing(error):
                raise
        try:
            self.load(client)
        except redis.exceptions.NoPermissionError as error:
            if "function" not in str(error):  # another right, of which its own words tell
                raise
        else:
            return client.fcall(*call)
        raise StepsMissing

    def find(self, client: Any) -> None:
        """Make sure that the server has all steps, and may be asked to run them: load them if it
        has not.
        """
        try:
            client.fcall(self._is_here, 0)
        except redis.ResponseError as error:
            if not is_missing(error):
                raise
            self.load(client)

    def others(self, client: Any) -> list[str]:
        """The libraries of other versions that the server has, by name."""
        found = client.function_list(library=_ANY)
        # Each is a list of names and values, or with RESP3 a map of them.
        names = {one["library_name"] if isinstance(one, dict) else one[1] for one in found}
        return sorted(names - {self.library})

    def load(self, client: Any) -> None:
        """Load the library, in the place of what may be there under its name."""
        client.function_load(self._source, replace=True)


@shared
def get_steps() -> Steps:
    """The process's steps, read once: a release that is put in their place is another process's."""
    return Steps()


def is_missing(error: redis.ResponseError) -> bool:
    """Whether the server does not know a function."""
    return "Function not found" in str(error)


def shared_source() -> str:
    """The Lua that all steps use; `begin()` is called before any of it."""
    return "".join((LUA / f"{name}.lua").read_text() for name in LIBRARY)
