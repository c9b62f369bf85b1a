"""`python -m tasks`: run a command; a mistake becomes a message and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from config.terminal import escape_what_cannot_be_shown
from tasks import errors
from tasks.cli import cli
from tasks.commands import Stopped

# What the exit codes say, besides 0 for done. A command itself returns 1 for a failed job.
NOT_DONE: Final = 1
BAD_INPUT: Final = 2
UNREACHABLE: Final = 3
STILL_GOING: Final = 4
INTERRUPTED: Final = 130


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command that `args`, by default the process's arguments, ask for, and exit."""
    escape_what_cannot_be_shown()
    given = sys.argv[1:] if args is None else args
    as_json = "--json" in given
    try:
        code = cli.main(args, prog_name="python -m tasks", standalone_mode=False)
    except click.ClickException as error:
        code = BAD_INPUT
        if as_json:
            _complain(error.format_message(), as_json=True)
        else:
            error.show()  # with a hint at --help
    except click.Abort:
        code = INTERRUPTED
        _complain("Interrupted.", as_json=as_json)
    except UnicodeEncodeError:
        odd = [arg for arg in given if not _is_text(arg)]
        if not odd:
            raise
        code = BAD_INPUT
        _complain(f"{odd[0]!r} is no text in this terminal's encoding.", as_json=as_json)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _complain(str(error), as_json=as_json, **_details(error))
    sys.exit(code)


def _is_text(argument: str) -> bool:
    """Whether it has no bytes that Python could not decode."""
    return not any("\ud800" <= one <= "\udfff" for one in argument)


def _exit_code(error: Exception) -> int | None:
    """The code for a mistake or a mishap; nothing for a bug, which keeps its traceback."""
    from config.settings import SettingsError

    codes = (
        (Stopped, INTERRUPTED),
        (errors.StoreUnavailable, UNREACHABLE),
        (errors.JobNotFound, NOT_DONE),
        (errors.StepRefused, NOT_DONE),
        (errors.RecordUnreadable, NOT_DONE),
        (TimeoutError, STILL_GOING),
        (errors.WebhookJobError, BAD_INPUT),
        (SettingsError, BAD_INPUT),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), None)


def _details(error: Exception) -> dict[str, Any]:
    """What a program wants to know besides the words."""
    if isinstance(error, errors.NotConfirmed):
        return {"recorded": True, "job": error.job.id}
    return {}


def _complain(message: str, *, as_json: bool, **details: Any) -> None:
    click.echo(json.dumps({"error": message, **details}) if as_json else message, err=True)


if __name__ == "__main__":
    main()
