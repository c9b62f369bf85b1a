"""`status` and `list`: what there is."""

from __future__ import annotations

from typing import Any

import click

from tasks.commands import Command
from tasks.options import account_option, filter_options, json_option
from tasks.states import STATES


@click.command(cls=Command)
@click.argument("job", required=False)
@click.option("--app-id", help="With --id: the latest job of this app's webhook.")
@click.option("--id", "webhook_id", help="The webhook's id.")
@account_option
@json_option
def status(
    *, job: str | None, app_id: str | None, webhook_id: str | None, account: str, as_json: bool
) -> None:
    """Show a job: state, attempts, when it is due, what became of it."""
    from tasks.changes import latest_job
    from tasks.display import show_job
    from tasks.producer import get_job

    named = app_id is not None and webhook_id is not None
    if (job is not None) == named or (app_id is None) != (webhook_id is None):
        raise click.UsageError("Give either a JOB, or --app-id and --id.")
    found = get_job(job) if job else latest_job(str(app_id), str(webhook_id), account=account)
    show_job(found, as_json=as_json)


@click.command("list", cls=Command)
@click.option("--state", type=click.Choice(sorted(STATES), case_sensitive=False))
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_(*, state: str | None, limit: int, as_json: bool, **filters: Any) -> None:
    """List jobs, newest first.

    With --state FAILURE the order and the times are those of the failures, else of enqueueing.
    """
    from tasks.actions import list_jobs
    from tasks.display import show_jobs
    from tasks.selection import Selection

    found = list_jobs(Selection(**filters), state=state, limit=limit)
    show_jobs(found, limit=limit, as_json=as_json)
