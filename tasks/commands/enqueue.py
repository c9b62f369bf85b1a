"""`enqueue`: one webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from tasks.commands import Command, Stopped
from tasks.options import (
    creation_options,
    no_stray_words,
    order_options,
    password_options,
    read_password,
)

if TYPE_CHECKING:
    from tasks.job import Job

#: Seconds that `--wait` waits unless told otherwise, and at most.
WAIT_SECONDS: Final = 60.0
MAX_WAIT_SECONDS: Final = 86_400.0


wait_option = click.option(
    "--wait",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value=WAIT_SECONDS,
    type=click.FloatRange(0, MAX_WAIT_SECONDS),
    help=f"Wait for the job to end, {WAIT_SECONDS:g} s unless told otherwise.",
)


@click.command(cls=Command, context_settings={"allow_extra_args": True})
@click.option("--app-id", required=True, help="The CometChat app to create it on.")
@click.option("--id", "webhook_id", required=True, help="Letters, digits, '_', '-'; at most 50.")
@click.option("--name", required=True, help="At most 50 characters.")
@click.option("--url", required=True, help="Where CometChat delivers: https.")
@click.option("--username", help="For basic auth on deliveries.")
@password_options
@click.option("--disabled", is_flag=True, help="Create it without starting deliveries.")
@click.option("--retry-on-failure", is_flag=True, help="CometChat repeats failed deliveries.")
@click.option(
    "--trigger",
    "triggers",
    metavar="NAME",
    multiple=True,
    help="An event that CometChat is to deliver, such as message_sent; repeat it for more.",
)
@wait_option
@order_options("interactive")
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
    triggers: tuple[str, ...],
    wait: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Enqueue one webhook. The same one again is the same job."""
    from tasks.producer import enqueue_webhooks

    no_stray_words(context)
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
    if triggers:
        webhook["triggers"] = triggers
    [(job, error, is_new)] = enqueue_webhooks([(app_id, webhook)], **options)
    if error is not None:
        raise error
    assert job is not None  # nosec B101  # one of the two is always there
    what = "Accepted" if is_new else "Was there already, and stays as it was"
    return end_of(job, what, wait, as_json=as_json)


def end_of(job: Job, what: str, wait: float | None, *, as_json: bool) -> int:
    """Say what became of an accepted job, at once or once it was waited for; the exit code."""
    from tasks.display import say_job

    if wait is None:
        say_job(job, what, as_json=as_json)
        return 0
    try:
        job.wait(wait)
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted; job {job.id} goes on.") from None
    finally:
        say_job(job, "Waited for", as_json=as_json)
    return 0 if job.state == "SUCCESS" else 1
