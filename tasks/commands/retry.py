"""`retry`: one ended job, or a selection of the failed ones, at a rate."""

from __future__ import annotations

import sys
from typing import Any

import click

from tasks import errors
from tasks.commands import Command, Stopped
from tasks.options import Rate, filter_options, json_option


@click.command(cls=Command)
@click.argument("job", required=False)
@click.option("--failed", is_flag=True, help="Those that failed: all, or those that fit.")
@filter_options
@click.option("--rate", type=Rate(), metavar="RATE", help=Rate.__doc__)
@click.option("--yes", is_flag=True, help="With --failed: do it, without a preview.")
@click.option(
    "--even-if-followed",
    is_flag=True,
    help="With JOB: also if later jobs of its webhook were accepted; it runs after them.",
)
@json_option
def retry(
    *,
    job: str | None,
    failed: bool,
    rate: float | None,
    yes: bool,
    even_if_followed: bool,
    as_json: bool,
    **filters: Any,
) -> int:
    """Take up a failed or cancelled job again, or those that failed, with all attempts anew.

    One that a later job of its webhook follows is left alone. --failed shows first which jobs that
    would be, and asks; --since and --until are times of their failures. Where nobody can be asked,
    nothing is changed without --yes, and the exit code is 1.
    """
    if (job is not None) == failed:
        raise click.UsageError("Give either a JOB, or --failed.")
    if even_if_followed and job is None:
        raise click.UsageError("Only a JOB goes with --even-if-followed.")
    if job is None:
        return _retry_failed(rate, yes=yes, as_json=as_json, **filters)
    if yes or rate or any(value is not None for value in filters.values()):
        raise click.UsageError("Only --failed goes with a selection, a rate or --yes.")
    from tasks.actions import retry_job
    from tasks.audited import about_job, audited
    from tasks.display import say_job

    with audited("retry", {**about_job(job), "even_if_followed": even_if_followed or None}):
        retried = retry_job(job, even_if_followed=even_if_followed)
    say_job(retried, "Taken up again", as_json=as_json)
    return 0


def _retry_failed(rate: float | None, *, yes: bool, as_json: bool, **filters: Any) -> int:
    from tasks.audited import audited
    from tasks.display import progress, say, show_preview
    from tasks.failed import preview_retry, retry_failed_jobs
    from tasks.selection import Selection

    selection = Selection(**filters)
    total = None
    if not yes:
        preview = preview_retry(selection, rate_per_second=rate)
        show_preview(preview, as_json=as_json)
        if not preview.count:
            return 0
        if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            click.echo("Nothing was changed. To take them up again, add --yes.", err=True)
            return 1
        if not click.confirm("Take them up again?"):
            click.echo("Nothing was changed.")
            return 1
        # What failed while the question stood is not what was answered.
        selection, total = preview.selection, preview.count
    taken = 0

    def count(number: int) -> None:
        nonlocal taken
        taken += number
        result["retried"] = taken
        bar.advance(task, number)

    chosen = {name: str(value) for name, value in filters.items() if value is not None}

    with progress(wanted=not as_json) as bar:
        task = bar.add_task("Taking up again", total=total)
        try:
            with audited("retry --failed", {**chosen, "per_second": rate}) as result:
                retry_failed_jobs(selection, rate_per_second=rate, on_taken=count)
        except KeyboardInterrupt:
            raise Stopped(f"Interrupted: {_so_far(taken)}") from None
        except errors.StoreUnavailable as error:
            raise errors.StoreUnavailable(f"{error} {_so_far(taken)}") from None
    say(f"{taken} failed jobs taken up again", {"retried": taken}, as_json=as_json)
    return 0


def _so_far(taken: int) -> str:
    return f"{taken} failed jobs were taken up again, the rest is as it was."
