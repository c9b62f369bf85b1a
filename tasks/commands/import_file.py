"""`import`: the webhooks of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import click

from tasks import errors
from tasks.commands import Command, Stopped
from tasks.options import creation_options, opened, order_options

if TYPE_CHECKING:
    from tasks.importing import BadLine, Format, Import

#: Bad lines shown of an import that is refused; one that goes on shows all.
SHOWN_BAD_LINES: Final = 100


@click.command("import", cls=Command)
@click.argument(
    "path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Else by its name.")
@click.option("--skip-bad", is_flag=True, help="Enqueue the good lines whatever the others are.")
@order_options("bulk")
@creation_options
def import_file(
    *, path: str, form: Format | None, skip_bad: bool, as_json: bool, **options: Any
) -> None:
    """Enqueue the webhooks of a file, a line each; '-' is standard input.

    JSON lines, or CSV whose first line names the columns: app_id, id, name, webhookURL, and at
    will enabled, retryOnFailure, useBasicAuth, username, password, triggers. The triggers are a
    list in JSON; in CSV their names are separated by spaces or by |.

    Every line is checked first; if one is bad, nothing is enqueued. The same import again
    completes one that was interrupted, and changes nothing else.
    """
    from config.settings import get_settings
    from tasks.audited import audited
    from tasks.checks import WebhookCheck
    from tasks.display import progress
    from tasks.importing import Import, format_of
    from tasks.triggers import TriggerCheck

    form = form or ("jsonl" if path == "-" else format_of(path))
    if form is None:
        raise click.UsageError("The file's name does not tell its format: use --format.")

    def show(line: BadLine) -> None:
        if not as_json and (skip_bad or run.bad_count <= SHOWN_BAD_LINES):
            click.echo(f"line {line.number}: {line.reason}", err=True)

    run = Import(
        form,
        on_bad=show,
        on_lines=lambda done: bar.update(task, completed=done),
        webhook_check=WebhookCheck(
            TriggerCheck(options["webhook_version"], options["allow_unknown_triggers"]),
            get_settings().webhook_url_allow,
        ),
    )
    with _told(run, as_json=as_json), progress(wanted=not as_json) as bar, opened(path) as file:
        task = bar.add_task("Checking", total=None)
        run.check(file, report=not skip_bad)
        if run.bad_count:
            raise errors.InvalidInput(
                f"{run.bad_count} of {run.lines} lines are bad; nothing was enqueued. "
                "Correct them, or leave them out with --skip-bad."
            )
        bar.update(task, description="Enqueueing", total=run.lines, completed=0)
        with audited("import", {"file": PurePath(path).name, "lines": run.lines}) as result:
            try:
                run.enqueue(file, **options)
            finally:
                result |= {"new": run.new, "existing": run.existing, "bad": run.bad_count}
    if run.bad_count:
        raise errors.InvalidInput(f"{run.bad_count} of {run.lines} lines were not enqueued.")


@contextmanager
def _told(run: Import, *, as_json: bool) -> Iterator[None]:
    """Say what an import did, however it ends."""
    again = "The same import again completes the rest."
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted after {run.new} new jobs. {again}") from None
    except errors.StoreUnavailable as error:
        raise errors.StoreUnavailable(f"{error} {run.new} jobs are new. {again}") from None
    finally:
        if as_json:
            click.echo(json.dumps(run.as_json()))
        elif run.started:
            click.echo(f"{run.new} new, {run.existing} already there")
