"""`cancel` and `forget`: a job that is not wanted any more."""

from __future__ import annotations

import click

from tasks.commands import Command
from tasks.options import json_option


@click.command(cls=Command)
@click.argument("job")
@json_option
def cancel(*, job: str, as_json: bool) -> None:
    """Cancel a job that has not ended. A call that is under way is not cut off.

    Says whether an earlier call may have created the webhook all the same.
    """
    from tasks.actions import cancel_job
    from tasks.audited import about_job, audited
    from tasks.display import say_job

    with audited("cancel", about_job(job)) as result:
        cancelled = cancel_job(job)
        result["state"] = cancelled.state
    say_job(cancelled, "Cancelled", as_json=as_json)


@click.command(cls=Command)
@click.argument("job")
@json_option
def forget(*, job: str, as_json: bool) -> None:
    """Delete the record of a job that has ended, so that its webhook can be enqueued anew."""
    from tasks.actions import forget_job
    from tasks.audited import about_job, audited
    from tasks.display import say

    with audited("forget", about_job(job)):
        forget_job(job)
    say(f"Forgot job {job}", {"forgotten": job}, as_json=as_json)
