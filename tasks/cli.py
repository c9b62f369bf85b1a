"""The commands of `python -m tasks`. Results go to standard output, all else to standard error.

What takes long to import is imported by the command that needs it: `--help` is quick.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from tasks import errors
from tasks.options import (
    account_option,
    creation_options,
    json_option,
    opened,
    password_options,
    read_password,
)
from tasks.record import STATES, job_id

if TYPE_CHECKING:
    from tasks.importing import BadLine, Format, Import

#: Seconds that `--wait` waits unless told otherwise, and at most.
WAIT_SECONDS: Final = 60.0
MAX_WAIT_SECONDS: Final = 86_400.0
#: Bad lines shown of an import that is refused; one that goes on shows all.
SHOWN_BAD_LINES: Final = 100

FAILURES: Final = tuple(
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ApiFailure)
)


class Stopped(Exception):
    """A person pressed Ctrl-C; the message says what was done until then."""


class Command(click.Command):
    """A command that looks at the settings first: a mistake in them is told before any other."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what it returns is the exit code."""
        from config.logging import configure_logging
        from config.settings import get_settings

        configure_logging(get_settings())
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


class Commands(click.Group):
    """The commands."""

    command_class = Command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Create CometChat webhooks from a queue, and see to their jobs.

    Exit codes: 0 done; 1 a job that was waited for failed, or a step was refused; 2 bad input;
    3 Redis cannot be used; 4 a job that was waited for goes on; 130 interrupted.
    """


@cli.command(context_settings={"allow_extra_args": True})
@click.option("--app-id", required=True, help="The CometChat app to create it on.")
@click.option("--id", "webhook_id", required=True, help="Letters, digits, '_', '-'; at most 50.")
@click.option("--name", required=True, help="At most 50 characters.")
@click.option("--url", required=True, help="Where CometChat delivers: https.")
@click.option("--username", help="For basic auth on deliveries.")
@password_options
@click.option("--disabled", is_flag=True, help="Create it without starting deliveries.")
@click.option("--retry-on-failure", is_flag=True, help="CometChat repeats failed deliveries.")
@click.option(
    "--wait",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value=WAIT_SECONDS,
    type=click.FloatRange(0, MAX_WAIT_SECONDS),
    help=f"Wait for the job to end, {WAIT_SECONDS:g} s unless told otherwise.",
)
@creation_options
@click.pass_context
def enqueue(
    context: click.Context,
    /,
    *,
    app_id: str,
    webhook_id: str,
    name: str,
    url: str,
    username: str | None,
    password_env: str | None,
    password_stdin: bool,
    password_prompt: bool,
    disabled: bool,
    retry_on_failure: bool,
    wait: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Enqueue one webhook. The same one again is the same job."""
    from tasks.display import say_job
    from tasks.producer import enqueue_webhooks

    if context.args:  # one may be a password: Click would show it
        raise click.UsageError("There are words that belong to no option.")
    webhook: dict[str, Any] = {
        "id": webhook_id,
        "name": name,
        "webhookURL": url,
        "enabled": not disabled,
        "username": username,
        "password": read_password(password_env, stdin=password_stdin, prompt=password_prompt),
    }
    if retry_on_failure:
        webhook["retryOnFailure"] = True
    [(job, error, is_new)] = enqueue_webhooks([(app_id, webhook)], **options)
    if error is not None:
        raise error
    assert job is not None  # noqa: S101  one of the two is always there
    if wait is None:
        say_job(job, "Accepted" if is_new else "Was there already", as_json=as_json)
        return 0
    try:
        job.wait(wait)
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted; job {job.id} goes on.") from None
    finally:
        say_job(job, "Waited for", as_json=as_json)
    return 0 if job.state == "SUCCESS" else 1


@cli.command("import")
@click.argument(
    "path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Else by its name.")
@click.option("--skip-bad", is_flag=True, help="Enqueue the good lines whatever the others are.")
@creation_options
def import_file(
    *, path: str, form: Format | None, skip_bad: bool, as_json: bool, **options: Any
) -> None:
    """Enqueue the webhooks of a file, a line each; '-' is standard input.

    JSON lines, or CSV whose first line names the columns: app_id, id, name, webhookURL, and at
    will enabled, retryOnFailure, useBasicAuth, username, password.

    Every line is checked first; if one is bad, nothing is enqueued. The same import again
    completes one that was interrupted, and changes nothing else.
    """
    from tasks.display import progress
    from tasks.importing import Import, format_of

    form = form or ("jsonl" if path == "-" else format_of(path))
    if form is None:
        raise click.UsageError("The file's name does not tell its format: use --format.")

    def show(line: BadLine) -> None:
        if not as_json and (skip_bad or run.bad_count <= SHOWN_BAD_LINES):
            click.echo(f"line {line.number}: {line.reason}", err=True)

    run = Import(form, on_bad=show, on_lines=lambda done: bar.update(task, completed=done))
    with _told(run, as_json=as_json), progress(wanted=not as_json) as bar, opened(path) as file:
        task = bar.add_task("Checking", total=None)
        run.check(file, report=not skip_bad)
        if run.bad_count:
            raise errors.InvalidInput(
                f"{run.bad_count} of {run.lines} lines are bad; nothing was enqueued. "
                "Correct them, or leave them out with --skip-bad."
            )
        bar.update(task, description="Enqueueing", total=run.lines, completed=0)
        run.enqueue(file, **options)
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


@cli.command()
@click.argument("job", required=False)
@click.option("--app-id", help="With --id: the job of this app's webhook.")
@click.option("--id", "webhook_id", help="The webhook's id.")
@account_option
@json_option
def status(
    *, job: str | None, app_id: str | None, webhook_id: str | None, account: str, as_json: bool
) -> None:
    """Show a job: state, attempts, when it is due, what became of it."""
    from tasks.display import show_job
    from tasks.producer import get_job

    named = app_id is not None and webhook_id is not None
    if (job is not None) == named or (app_id is None) != (webhook_id is None):
        raise click.UsageError("Give either a JOB, or --app-id and --id.")
    show_job(get_job(job or job_id(account, str(app_id), str(webhook_id))), as_json=as_json)


@cli.command("list")
@click.option("--state", type=click.Choice(sorted(STATES), case_sensitive=False))
@click.option("--app-id", help="Those of this app.")
@click.option(
    "--class",
    "failure",
    type=click.Choice(FAILURES, case_sensitive=False),
    help="Those whose last failure is of this class.",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_(
    *, state: str | None, app_id: str | None, failure: str | None, limit: int, as_json: bool
) -> None:
    """List jobs, newest first; with --state FAILURE, the latest failure first."""
    from tasks.actions import list_jobs
    from tasks.display import show_jobs

    show_jobs(list_jobs(state=state, app_id=app_id, failure=failure, limit=limit), as_json=as_json)


@cli.command()
@click.argument("job", required=False)
@click.option("--failed", is_flag=True, help="All that failed.")
@json_option
def retry(*, job: str | None, failed: bool, as_json: bool) -> None:
    """Take up a failed or cancelled job again, or all that failed, with all attempts anew."""
    from tasks.actions import retry_all_failed, retry_job
    from tasks.display import say, say_job

    if (job is not None) == failed:
        raise click.UsageError("Give either a JOB, or --failed.")
    if job is not None:
        say_job(retry_job(job), "Taken up again", as_json=as_json)
    else:
        count = retry_all_failed()
        say(f"{count} failed jobs taken up again", {"retried": count}, as_json=as_json)


@cli.command()
@click.argument("job")
@json_option
def cancel(*, job: str, as_json: bool) -> None:
    """Cancel a job that has not ended. A call that is under way is not cut off."""
    from tasks.actions import cancel_job
    from tasks.display import say_job

    say_job(cancel_job(job), "Cancelled", as_json=as_json)


@cli.command()
@click.argument("job")
@json_option
def forget(*, job: str, as_json: bool) -> None:
    """Delete the record of a job that has ended, so that its webhook can be enqueued anew."""
    from tasks.actions import forget_job
    from tasks.display import say

    forget_job(job)
    say(f"Forgot job {job}", {"forgotten": job}, as_json=as_json)
