"""Import files: many webhooks, a line each, as JSON lines or CSV.

A line holds `app_id` and the fields of `Webhook`, under the API's names or Python's; a CSV cell of
`triggers` has names with spaces or `|` between them. A file is read twice, first to check every
line and then to enqueue; what is enqueued is what the second reading found to be good. Reasons name
fields and limits, never values, as a line that is out of order may have a password in any place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from tasks.checks import USUAL, WebhookCheck
from tasks.errors import DurabilityUnavailable, InvalidInput, StoreUnavailable
from tasks.fields import check_app_id
from tasks.import_lines import Bad, csv_parser, json_object, raw_lines, text_of
from tasks.producer import Enqueued, enqueue_webhooks
from tasks.sealing import get_sealer
from tasks.webhook import Webhook

Format = Literal["jsonl", "csv"]

#: Lines enqueued in one call. An import that is interrupted miscounts by less than this.
CHUNK: Final = 2_000
#: Not the lines' fault.
AWAY: Final = (StoreUnavailable, DurabilityUnavailable)
KEPT_BAD_LINES: Final = 100  # in a report


class Line(NamedTuple):
    """A line that is good."""

    number: int
    app_id: str
    webhook: Webhook


class BadLine(NamedTuple):
    """A line that is not, and why."""

    number: int
    reason: str


def format_of(path: str) -> Format | None:
    """The format that a file's name tells, if it tells one."""
    suffix = PurePath(path).suffix.lower()
    if suffix in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    return "csv" if suffix == ".csv" else None


def read_lines(
    file: BinaryIO, form: Format, check: WebhookCheck = USUAL
) -> Iterator[Line | BadLine]:
    """Read a file from its start, and check each line; blank ones are left out.

    Lines for one webhook that contradict each other are bad from the second one on.

    Raises:
        InvalidInput: no line can be read: it is UTF-16, or a CSV file without fitting columns.
    """
    file.seek(0)
    lines = raw_lines(file)
    parse = csv_parser(lines) if form == "csv" else json_object
    seen: dict[int, tuple[int, int]] = {}
    for number, raw in lines:
        try:
            fields = parse(text_of(raw))
            if form == "csv" and not any(fields.values()):
                continue  # spreadsheets leave rows of commas behind
            line = _checked(number, fields, check)
            _check_contradiction(line, seen)
        except Bad as bad:
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
        webhook_check: looks at each webhook's triggers, and at where it leads.
    """

    form: Format
    on_bad: Callable[[BadLine], None]
    on_lines: Callable[[int], None]
    webhook_check: WebhookCheck = USUAL
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
            SealingUnavailable: there are passwords, and there is no key to seal them with.
        """
        sealable = False
        for chunk in self._chunks(file):
            self.lines += len(chunk)
            for line in chunk:
                if isinstance(line, BadLine):
                    if report:
                        self._reject(line)
                elif line.webhook.password and not sealable:
                    get_sealer().require()
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
        """What `--json` prints; of the bad lines the first KEPT_BAD_LINES."""
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
        lines = read_lines(file, self.form, self.webhook_check)
        done = 0
        while chunk := list(islice(lines, CHUNK)):
            yield chunk
            done += len(chunk)
            self.on_lines(done)


def _checked(number: int, fields: dict[str, Any], check: WebhookCheck) -> Line:
    problems: list[str] = []
    app_id = fields.pop("app_id", None)
    if app_id is None or app_id == "":
        problems.append("app_id: is required")
    else:
        try:
            check_app_id(app_id)
        except InvalidInput as error:
            problems += (f"app_id: {problem}" for problem in error.problems.values())
    bad: list[InvalidInput] = []
    try:
        webhook = Webhook.parse(fields)
        bad += check.problems(webhook)
    except InvalidInput as error:
        bad.append(error)
    # Not the messages: they show the id, which in a line out of order may be something else.
    problems += (
        problem if problem.startswith("unknown field") else f"{name}: {problem}"
        for error in bad
        for name, problem in error.problems.items()
    )
    if problems:
        raise Bad("; ".join(problems))
    return Line(number, app_id, webhook)


def _check_contradiction(line: Line, seen: dict[int, tuple[int, int]]) -> None:
    # Numbers, not the lines: this is all that is kept of a file, 250 bytes a line.
    key, values = hash((line.app_id, line.webhook.id)), _hash_of(line.webhook)
    earlier, said = seen.setdefault(key, (line.number, values))
    if said != values:
        raise Bad(f"is for the webhook of line {earlier}, with other values")


def _hash_of(webhook: Webhook) -> int:
    """A number for the webhook's values; the order of its triggers means nothing."""
    if not webhook.triggers:
        return hash(webhook)
    return hash((frozenset(webhook.triggers), webhook.model_copy(update={"triggers": ()})))
