"""The lines of an import file, each read by itself: JSON objects, or rows of CSV.

A value that is wrong is not shown, as in a row that is out of order it may be a password.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from tasks.errors import InvalidInput
from tasks.webhook import MAX_TOLD, Webhook

#: Bytes of one line; the largest valid one has about 14 KiB, 10 of them for its triggers.
LINE_LIMIT: Final = 64 * 1024
#: Every name that a field may have -> its name in messages, and as a column.
_NAMES: Final = {"app_id": "app_id"} | {
    name: info.alias or python_name
    for python_name, info in Webhook.model_fields.items()
    for name in (python_name, info.alias or python_name)
}
_COLUMNS: Final = tuple(dict.fromkeys(_NAMES.values()))
_REQUIRED: Final = ("app_id", "id", "name", "webhookURL")
_BETWEEN_TRIGGERS: Final = re.compile(r"[ |]+")


class Bad(Exception):
    """The reason why the line at hand is bad."""


def raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not blank, with their numbers; None for one that is too long."""
    number = 0
    while raw := file.readline(LINE_LIMIT + 1):
        number += 1
        is_long = len(raw) > LINE_LIMIT and not raw.endswith(b"\n")
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InvalidInput("The file is encoded as UTF-16; save it as UTF-8.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if is_long:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_LIMIT + 1)
            yield number, None
        elif raw.strip():
            yield number, raw


def text_of(raw: bytes | None) -> str:
    """A line without its end. Raises `Bad`."""
    if raw is None:
        raise Bad(f"is longer than {LINE_LIMIT // 1024} KiB")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Bad(f"is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None


def json_object(text: str) -> dict[str, Any]:
    """A line of JSON. Raises `Bad`."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Bad(f"is not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):
        raise Bad("is JSON with too long a number, or nested too deeply") from None
    if not isinstance(value, dict):
        raise Bad("is not a JSON object: each line must be one, as {...}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Bad("has a field twice")
    return values


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)


def csv_parser(lines: Iterator[tuple[int, bytes | None]]) -> Callable[[str], dict[str, Any]]:
    """What reads a row, now that the first line has named the columns. It raises `Bad`."""
    number, raw = next(lines, (1, b""))
    try:
        columns = _columns(text_of(raw))
    except Bad as bad:
        raise InvalidInput(
            f"Line {number} must name the columns, and does not fit: {bad}. "
            f"There are: {', '.join(_COLUMNS)}."
        ) from None

    def parse(text: str) -> dict[str, Any]:
        if len(cells := _cells(text)) != len(columns):
            raise Bad(f"has {len(cells)} cells for {len(columns)} columns")
        fields: dict[str, Any] = dict(zip(columns, cells, strict=True))
        if fields.get("triggers"):
            fields["triggers"] = _BETWEEN_TRIGGERS.split(fields["triggers"].strip(" |"))
        return fields

    return parse


def _cells(text: str) -> list[str]:
    # Each line by itself: no value may have a line break, and a quote left open ends here.
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise Bad(f"is not CSV: {error}; a quoted cell must end on its line") from None


def _columns(text: str) -> list[str]:
    """The names in the first line. They are not shown: without names it may be any data."""
    cells = [cell.strip() for cell in _cells(text)]
    if len(cells) == 1 and (";" in text or "\t" in text):
        raise Bad("its cells are not separated by commas")
    names = [_NAMES.get(cell, "") for cell in cells]
    problems = {
        "missing": [name for name in _REQUIRED if name not in names],
        "given twice": [name for name in _COLUMNS if names.count(name) > 1],
        "unknown names in columns": [str(at) for at, name in enumerate(names, 1) if not name],
    }
    told = [f"{problem}: {_listed(which)}" for problem, which in problems.items() if which]
    if told:
        raise Bad("; ".join(told))
    return cells


def _listed(which: list[str]) -> str:
    """The first of them, if they are many."""
    more = f" and {len(which) - MAX_TOLD} more" if len(which) > MAX_TOLD else ""
    return ", ".join(which[:MAX_TOLD]) + more
