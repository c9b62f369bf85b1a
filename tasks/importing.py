"""Import files: many webhooks, a line each, as JSON lines or CSV.

A line holds `app_id` and the fields of `Webhook`, under the API's names or Python's; a CSV cell of
`triggers` has names with spaces or `|` between them. A file is
read twice, first to check every line and then to enqueue; what is enqueued is what the second
reading found to be good. Reasons name fields and limits, never values, as a line that is out of
order may have a password in any place.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from tasks.errors import DurabilityUnavailable, InvalidInput, StoreUnavailable
from tasks.producer import Enqueued, enqueue_webhooks
from tasks.sealing import get_sealer
from tasks.triggers import DOCUMENTED, TriggerCheck
from tasks.webhook import Webhook, check_app_id

Format = Literal["jsonl", "csv"]

#: Bytes of one line; the largest valid one has about 3 KiB.
LINE_LIMIT: Final = 64 * 1024
#: Lines enqueued in one call. An import that is interrupted miscounts by less than this.
CHUNK: Final = 2_000
#: Not the lines' fault.
AWAY: Final = (StoreUnavailable, DurabilityUnavailable)
KEPT_BAD_LINES: Final = 100  # in a report
#: Every name that a field may have -> its name in messages, and as a column.
_NAMES: Final = {"app_id": "app_id"} | {
    name: info.alias or python_name
    for python_name, info in Webhook.model_fields.items()
    for name in (python_name, info.alias or python_name)
}
_COLUMNS: Final = tuple(dict.fromkeys(_NAMES.values()))
_REQUIRED: Final = ("app_id", "id", "name", "webhookURL")
_BETWEEN_TRIGGERS: Final = re.compile(r"[ |]+")


class Line(NamedTuple):
    """A line that is good."""

    number: int
    app_id: str
    webhook: Webhook


class BadLine(NamedTuple):
    """A line that is not, and why."""

    number: int
    reason: str


class _Bad(Exception):
    """The reason why the line at hand is bad."""


def format_of(path: str) -> Format | None:
    """The format that a file's name tells, if it tells one."""
    suffix = PurePath(path).suffix.lower()
    if suffix in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    return "csv" if suffix == ".csv" else None


def read_lines(
    file: BinaryIO, form: Format, check: TriggerCheck = DOCUMENTED
) -> Iterator[Line | BadLine]:
    """Read a file from its start, and check each line; blank ones are left out.

    Lines for one webhook that contradict each other are bad from the second one on.

    Raises:
        InvalidInput: no line can be read: it is UTF-16, or a CSV file without fitting columns.
    """
    file.seek(0)
    lines = _raw_lines(file)
    parse = _csv_parser(lines) if form == "csv" else _json_object
    seen: dict[int, tuple[int, int]] = {}
    for number, raw in lines:
        try:
            fields = parse(_text(raw))
            if form == "csv" and not any(fields.values()):
                continue  # spreadsheets leave rows of commas behind
            line = _checked(number, fields, check)
            _check_contradiction(line, seen)
        except _Bad as bad:
            yield BadLine(number, str(bad))
        else:
            yield line


@dataclass
class Import:
    """One file on its way into the queue.

    Args:
        form: its format.
        on_bad: is told of each bad line as it is found.
        on_lines: is told now and then how many lines of this reading are done.
        check_triggers: looks whether a webhook's triggers are known.
    """

    form: Format
    on_bad: Callable[[BadLine], None]
    on_lines: Callable[[int], None]
    check_triggers: TriggerCheck = DOCUMENTED
    lines: int = 0
    started: bool = False
    new: int = 0
    existing: int = 0
    bad_count: int = 0
    bad: list[BadLine] = field(default_factory=list)

    def check(self, file: BinaryIO, *, report: bool) -> None:
        """Read every line, and count them. `report` says whether bad ones are told of now.

        Raises:
            InvalidInput: no line can be read.
            SealingUnavailable: there are passwords, and SEALING_KEYS is not set.
        """
        sealable = False
        for chunk in self._chunks(file):
            self.lines += len(chunk)
            for line in chunk:
                if isinstance(line, BadLine):
                    if report:
                        self._reject(line)
                elif line.webhook.password and not sealable:
                    get_sealer().seal(line.webhook.password)
                    sealable = True

    def enqueue(self, file: BinaryIO, **options: Any) -> None:
        """Enqueue the good lines and report the bad ones; `options` are `enqueue_webhooks`'s.

        Raises:
            InvalidInput: an option is wrong; nothing was enqueued.
            StoreUnavailable: the rest was not enqueued, or not confirmed; what was is counted.
        """
        for chunk in self._chunks(file):
            items = [(line.app_id, line.webhook) for line in chunk if isinstance(line, Line)]
            outcomes = enqueue_webhooks(items, **options)
            self.started = True
            following = iter(outcomes)
            for line in chunk:
                if isinstance(line, BadLine):
                    self._reject(line)
                else:
                    self._count(line, next(following))
            if away := [one.error for one in outcomes if isinstance(one.error, AWAY)]:
                raise away[0]
        self.started = True

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints; of the bad lines the first #: Not the lines' fault.
        AWAY: Final = (StoreUnavailable, DurabilityUnavailable)
        KEPT_BAD_LINES."""
        counts = {"new": self.new, "existing": self.existing, "bad_count": self.bad_count}
        return {**counts, "bad": [{"line": line, "reason": reason} for line, reason in self.bad]}

    def _count(self, line: Line, outcome: Enqueued) -> None:
        if outcome.job is not None:  # recorded, if perhaps not confirmed
            self.new += outcome.is_new
            self.existing += not outcome.is_new
        elif not isinstance(outcome.error, AWAY):
            self._reject(BadLine(line.number, str(outcome.error)))

    def _reject(self, line: BadLine) -> None:
        self.bad_count += 1
        if len(self.bad) < KEPT_BAD_LINES:
            self.bad.append(line)
        self.on_bad(line)

    def _chunks(self, file: BinaryIO) -> Iterator[list[Line | BadLine]]:
        lines = read_lines(file, self.form, self.check_triggers)
        done = 0
        while chunk := list(islice(lines, CHUNK)):
            yield chunk
            done += len(chunk)
            self.on_lines(done)


def _raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not blank, with their numbers; None for one that is too long."""
    number = 0
    while raw := file.readline(LINE_LIMIT + 1):
        number += 1
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InvalidInput("The file is encoded as UTF-16; save it as UTF-8.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > LINE_LIMIT and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_LIMIT + 1)
            yield number, None
        elif raw.strip():
            yield number, raw


def _text(raw: bytes | None) -> str:
    if raw is None:
        raise _Bad(f"is longer than {LINE_LIMIT // 1024} KiB")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _Bad(f"is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _Bad(f"is not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):
        raise _Bad("is JSON with too long a number, or nested too deeply") from None
    if not isinstance(value, dict):
        raise _Bad("is not a JSON object: each line must be one, as {...}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _Bad("has a field twice")
    return values


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)


def _csv_parser(lines: Iterator[tuple[int, bytes | None]]) -> Callable[[str], dict[str, Any]]:
    """What reads a row, now that the first line has named the columns."""
    number, raw = next(lines, (1, b""))
    try:
        columns = _columns(_text(raw))
    except _Bad as bad:
        raise InvalidInput(
            f"Line {number} must name the columns, and does not fit: {bad}. "
            f"There are: {', '.join(_COLUMNS)}."
        ) from None

    def parse(text: str) -> dict[str, Any]:
        if len(cells := _cells(text)) != len(columns):
            raise _Bad(f"has {len(cells)} cells for {len(columns)} columns")
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
        raise _Bad(f"is not CSV: {error}; a quoted cell must end on its line") from None


def _columns(text: str) -> list[str]:
    """The names in the first line. They are not shown: without names it may be any data."""
    cells = [cell.strip() for cell in _cells(text)]
    if len(cells) == 1 and (";" in text or "\t" in text):
        raise _Bad("its cells are not separated by commas")
    names = [_NAMES.get(cell, "") for cell in cells]
    problems = {
        "missing": [name for name in _REQUIRED if name not in names],
        "given twice": [name for name in _COLUMNS if names.count(name) > 1],
        "unknown names in columns": [str(at) for at, name in enumerate(names, 1) if not name],
    }
    told = [f"{problem}: {', '.join(which)}" for problem, which in problems.items() if which]
    if told:
        raise _Bad("; ".join(told))
    return cells


def _checked(number: int, fields: dict[str, Any], check: TriggerCheck) -> Line:
    problems: list[str] = []
    app_id = fields.pop("app_id", None)
    if app_id is None or app_id == "":
        problems.append("app_id: is required")
    else:
        try:
            check_app_id(app_id)
        except InvalidInput as error:
            problems += (f"app_id: {problem}" for problem in error.problems.values())
    try:
        webhook = Webhook.parse(fields)
        check(webhook.triggers, webhook.id)
    except InvalidInput as error:
        # Not the message: it shows the id, which in a line out of order may be something else.
        problems += (
            problem if problem.startswith("unknown field") else f"{name}: {problem}"
            for name, problem in error.problems.items()
        )
    if problems:
        raise _Bad("; ".join(problems))
    return Line(number, app_id, webhook)


def _check_contradiction(line: Line, seen: dict[int, tuple[int, int]]) -> None:
    # Numbers, not the lines: this is all that is kept of a file, 250 bytes a line.
    key, values = hash((line.app_id, line.webhook.id)), _hash_of(line.webhook)
    earlier, said = seen.setdefault(key, (line.number, values))
    if said != values:
        raise _Bad(f"is for the webhook of line {earlier}, with other values")


def _hash_of(webhook: Webhook) -> int:
    """A number for the webhook's values; the order of its triggers means nothing."""
    if not webhook.triggers:
        return hash(webhook)
    return hash((frozenset(webhook.triggers), webhook.model_copy(update={"triggers": ()})))
