"""The file `.env`, from which settings come that the environment does not have.

It is UTF-8, of lines NAME=value. Nothing is expanded in a value: what a shell or Docker Compose
would make of `${X}` depends on who reads the file, so it is refused but in single quotes, where it
is the value itself for all of them.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dotenv.parser import Binding, parse_stream
from pydantic_settings import BaseSettings, DotEnvSettingsSource

#: Bytes that are read of it.
MAX_BYTES: Final = 2**20

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # those of UTF-32 begin with them, too
_EXPANDED: Final = re.compile(r"\$\{")
_SINGLE_QUOTED: Final = re.compile(r"[^=]*=\s*'")

Problem = tuple[str, str]


class DotEnvUnusable(Exception):
    """The file cannot be used; `problems` are pairs of what is wrong (the file, a setting) and why.

    Raised without any value of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in self.problems))


class DotEnv(DotEnvSettingsSource):
    """What one such file says, with the names of settings in lower case."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        self._path = path
        super().__init__(settings_cls, env_file=path)

    def _read_env_files(self) -> Mapping[str, str | None]:
        if self._path is None:
            return {}
        bindings = list(parse_stream(io.StringIO(_text_of(self._path))))
        names = set(self.settings_cls.model_fields)
        names |= {f"{name}_file" for name in names}
        if problems := list(_problems(self._path, bindings, names)):
            raise DotEnvUnusable(problems)
        return {one.key.lower(): one.value for one in bindings if one.key is not None}


def _problems(path: Path, bindings: Sequence[Binding], names: set[str]) -> Iterator[Problem]:
    given: dict[str, Any] = {name.lower(): value for name, value in os.environ.items()}
    for one in bindings:
        name = (one.key or "").lower()
        if one.error:
            yield str(path), f"line {one.original.line} is not NAME=value, or a quote is not closed"
        elif name in names and name not in given and _is_expanded(one):
            yield (
                name.upper(),
                f"has a ${{...}} in {path}, where nothing is expanded: write the value itself, in "
                "single quotes if it is meant as it stands",
            )


def _is_expanded(one: Binding) -> bool:
    return bool(_EXPANDED.search(one.value or "") and not _SINGLE_QUOTED.match(one.original.string))


def _text_of(path: Path) -> str:
    """The file's text, empty if there is no file. Raises `DotEnvUnusable`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if not path.is_symlink():
            return ""
        problem = "is a link to a file that is not there"
    except IsADirectoryError:
        problem = "is a directory, as Docker makes one where a file to mount is missing: remove it"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
    else:
        problem = _unfit(data)
        if not problem:
            return data.decode("utf-8-sig")
    raise DotEnvUnusable([(str(path), problem)])


def _unfit(data: bytes) -> str:
    """Why this is no text of such a file."""
    if len(data) > MAX_BYTES:
        return f"has more than {MAX_BYTES} bytes"
    if data.startswith(_UTF_16) or b"\0" in data:
        return "is UTF-16, or has zero bytes: save it as UTF-8"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 (line {line}), but perhaps Latin-1: save it as UTF-8"
    return ""
