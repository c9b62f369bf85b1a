"""What the commands' options take: instants, rates, failures, passwords and files.

Errors here never show what may be a password in the wrong place.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final, cast, get_args

import click

from config.settings import Durability
from tasks import errors
from tasks.more import OnExisting, Priority

FAILURES: Final = tuple(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ApiFailure)
)
#: Bytes of standard input that are read as a password; a valid one has at most 100.
PASSWORD_BYTES: Final = 4_096
#: Bytes of standard input that an import keeps in memory; more of it goes to a nameless file.
SPOOL_BYTES: Final = 16 * 1024 * 1024


class When(click.ParamType[datetime]):
    """An instant: ISO 8601 with a time zone, or from now such as +90s, +10m, +2h or +1d."""

    name = "when"
    units: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    sign = "+"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it, or fail with what is wrong."""
        now = datetime.now(UTC)
        try:
            if relative := re.fullmatch(rf"\{self.sign}([0-9]{{1,9}})([smhd])", value):
                distance = timedelta(**{self.units[relative[2]]: int(relative[1])})
                instant = now + distance if self.sign == "+" else now - distance
            else:
                instant = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            examples = ", ".join(f"{self.sign}{one}" for one in ("90s", "10m", "2h", "1d"))
            self.fail(f"{value!r} is not like 2027-01-31T09:00:00Z or {examples}.")
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no time zone: add Z, or an offset such as +02:00.")
        if instant > now + timedelta(days=3_653):
            self.fail(f"{value!r} is more than ten years away.")
        return instant


class Past(When):
    """An instant: ISO 8601 with a time zone, or before now such as -90s, -10m, -2h or -1d."""

    sign = "-"


class Duration(click.ParamType[float]):
    """A length of time such as 90s, 10m, 2h or 1d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it as seconds, or fail with what is wrong."""
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is not like 90s, 10m, 2h or 1d.")
        return timedelta(**{When.units[found[2]]: int(found[1])}).total_seconds()


class Rate(click.ParamType[float]):
    """At most so many a second, minute or hour: 5/s, 300/m, 1000/h. By default all at once."""

    name = "rate"
    units: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it as jobs a second, or fail with what is wrong."""
        rate = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/([smh])", str(value))
        if rate is None or not float(rate[1]):
            self.fail(f"{value!r} is not like 5/s, 300/m or 1000/h.")
        per_second = float(rate[1]) / self.units[rate[2]]
        if per_second * 86_400 < 1:
            self.fail(f"{value!r} is less than one job a day.")
        return per_second


def _version(_context: click.Context, _option: click.Parameter, value: str) -> int | None:
    return 2 if value == "2" else None


def _refuse_password(_context: click.Context, _option: click.Parameter, value: Any) -> None:
    if value is not None:
        raise click.UsageError(
            "A password on the command line would be seen by others in the list of processes "
            "and kept in the shell's history. Use --password-env VAR, --password-stdin or "
            "--password-prompt."
        )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
account_option = click.option(
    "--account", default="default", show_default=True, help="Whose key and secret to use."
)


def filter_options(command: Any) -> Any:
    """The options of both commands that choose jobs; named as `Selection` does."""
    for option in (
        click.option("--until", type=Past(), metavar="WHEN", help="Not after this instant."),
        click.option(
            "--since", type=Past(), metavar="WHEN", help=f"Not before this instant. {Past.__doc__}"
        ),
        click.option("--code", help="Those whose last failure has this code of the API."),
        click.option(
            "--class",
            "failure",
            type=click.Choice(FAILURES, case_sensitive=False),
            help="Those whose last failure is of this class.",
        ),
        click.option("--app-id", help="Those of this app."),
    ):
        command = option(command)
    return command


unknown_triggers_option = click.option(
    "--allow-unknown-triggers",
    is_flag=True,
    help="Take triggers whose names this version does not know.",
)


def creation_options(command: Any) -> Any:
    """The options of both commands that enqueue webhooks to create."""
    on_existing = click.option(
        "--on-existing",
        type=click.Choice(get_args(OnExisting)),
        default="accept",
        show_default=True,
        help="If the webhook exists: accept it with the same name and URL, update it, or fail.",
    )
    return change_options(unknown_triggers_option(on_existing(command)))


def change_options(command: Any) -> Any:
    """The options of all commands that enqueue."""
    for option in (
        json_option,
        account_option,
        click.option(
            "--durability",
            type=click.Choice(get_args(Durability)),
            help="What to wait for besides Redis's memory; by default ENQUEUE_DURABILITY.",
        ),
        click.option(
            "--expires-in",
            type=Duration(),
            metavar="DURATION",
            help=f"From now on; then it is not wanted any more. {Duration.__doc__}",
        ),
        click.option("--not-before", type=When(), metavar="WHEN", help=When.__doc__),
        click.option(
            "--webhook-version",
            type=click.Choice(["2", "legacy"]),
            default="2",
            show_default=True,
            callback=_version,
            help="Of the events that CometChat delivers.",
        ),
    ):
        command = option(command)
    return command


def no_stray_words(context: click.Context) -> None:
    """Refuse arguments that belong to no option: one may be a password, and Click would show it."""
    if context.args:
        raise click.UsageError("There are words that belong to no option.")


def order_options(priority: Priority) -> Callable[[Any], Any]:
    """Who goes first, for both commands that enqueue."""

    def decorate(command: Any) -> Any:
        for option in (
            click.option(
                "--group", help="Bulk jobs of each group take turns; by default those of each app."
            ),
            click.option(
                "--priority",
                type=click.Choice(get_args(Priority)),
                default=priority,
                show_default=True,
                help="A person waits for interactive jobs; bulk ones wait for those.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def password_options(command: Any) -> Any:
    """The places that a password may come from, of which the command line is none."""
    for option in (
        click.option(
            "--password",
            is_flag=False,
            flag_value="",
            hidden=True,
            expose_value=False,
            is_eager=True,
            callback=_refuse_password,
        ),
        click.option("--password-prompt", is_flag=True, help="Ask for the password, hidden."),
        click.option("--password-stdin", is_flag=True, help="The password is on standard input."),
        click.option("--password-env", metavar="VAR", help="The password is in this variable."),
    ):
        command = option(command)
    return command


def read_password(variable: str | None, *, stdin: bool, prompt: bool) -> str | None:
    """The password from where it was said to be. Messages show nothing that may be one."""
    if (variable is not None) + stdin + prompt > 1:
        raise click.UsageError("The password can come from one place only.")
    if variable is not None:
        password = os.environ.get(variable)
        if not password:
            raise click.UsageError(
                "--password-env names a variable that is not set, or empty. It takes the "
                "variable's name, not the password."
            )
        return password
    if prompt:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "--password-prompt needs a terminal to ask at; use --password-env VAR or "
                "--password-stdin."
            )
        return str(click.prompt("Password", hide_input=True, err=True))
    if not stdin:
        return None
    file = sys.stdin.buffer
    if file.isatty():
        raise click.UsageError("--password-stdin would show it here; use --password-prompt.")
    try:
        password = file.read(PASSWORD_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""  # nosec B105  # there is none
    if not password:
        raise click.UsageError("--password-stdin: standard input holds no password as UTF-8 text.")
    return password


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file that can be read twice; '-' is standard input.

    What cannot be read twice is copied. It may hold passwords: the copy is in memory up to
    SPOOL_BYTES, then in a temporary file that only its owner could open and that has no name, so
    that nothing is left of it whatever happens.
    """
    try:
        source = click.open_file(path, "rb")  # leaves standard input open
    except OSError as error:
        raise click.FileError(path, error.strerror) from None
    with source as file:
        if file.seekable():
            yield cast(BinaryIO, file)
            return
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            shutil.copyfileobj(file, spool)
            yield cast(BinaryIO, spool)
