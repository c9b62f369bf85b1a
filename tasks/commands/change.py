"""`update`, `delete` and `set-triggers`: what is done with a webhook that is there."""

from __future__ import annotations

from typing import Any

import click

from tasks.commands import Command
from tasks.commands.enqueue import end_of, wait_option
from tasks.options import (
    change_options,
    no_stray_words,
    order_options,
    password_options,
    read_password,
    unknown_triggers_option,
)

_ON_OFF = {"on": True, "off": False}


def _which(command: Any) -> Any:
    """Which webhook is meant, and the options that all three share."""
    for decorate in (change_options, order_options("interactive"), wait_option):
        command = decorate(command)
    command = click.option("--id", "webhook_id", required=True, help="The webhook's id.")(command)
    return click.option("--app-id", required=True, help="The CometChat app that has it.")(command)


def _switch(name: str, text: str) -> Any:
    return click.option(name, type=click.Choice(list(_ON_OFF)), help=text)


@click.command(cls=Command, context_settings={"allow_extra_args": True})
@click.option("--name", help="A new name, at most 50 characters.")
@click.option("--url", help="Where CometChat is to deliver: https.")
@click.option("--username", help="For basic auth on deliveries, with a password.")
@password_options
@click.option("--no-basic-auth", is_flag=True, help="End basic auth on deliveries.")
@_switch("--enabled", "Whether deliveries are made.")
@_switch("--retry-on-failure", "Whether CometChat repeats failed deliveries.")
@_which
@click.pass_context
def update(
    context: click.Context,
    /,
    *,
    app_id: str,
    webhook_id: str,
    name: str | None,
    url: str | None,
    username: str | None,
    password_env: str | None,
    password_stdin: bool,
    password_prompt: bool,
    no_basic_auth: bool,
    enabled: str | None,
    retry_on_failure: str | None,
    wait: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Change a webhook; what is not named stays as it is."""
    from tasks.audited import about_webhook, audited
    from tasks.changes import update_webhook

    no_stray_words(context)
    password = read_password(password_env, stdin=password_stdin, prompt=password_prompt)
    changes: dict[str, Any] = {
        "name": name,
        "webhookURL": url,
        "username": username,
        "password": password,
        "enabled": None if enabled is None else _ON_OFF[enabled],
        "retryOnFailure": None if retry_on_failure is None else _ON_OFF[retry_on_failure],
        "useBasicAuth": False if no_basic_auth else None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    about = about_webhook(app_id, webhook_id, options["account"])
    with audited("update", {**about, "fields": list(given)}) as result:
        job = update_webhook(app_id, webhook_id, given, **options)
        result["job"] = job.id
    return end_of(job, "Accepted", wait, as_json=as_json)


@click.command(cls=Command)
@_which
def delete(
    *, app_id: str, webhook_id: str, wait: float | None, as_json: bool, **options: Any
) -> int:
    """Delete a webhook, once earlier jobs of it have ended."""
    from tasks.audited import about_webhook, audited
    from tasks.changes import delete_webhook

    with audited("delete", about_webhook(app_id, webhook_id, options["account"])) as result:
        job = delete_webhook(app_id, webhook_id, **options)
        result["job"] = job.id
    return end_of(job, "Accepted", wait, as_json=as_json)


@click.command("set-triggers", cls=Command)
@click.argument("triggers", nargs=-1)
@click.option(
    "--none", "no_triggers", is_flag=True, help="It is to have none: it delivers nothing."
)
@unknown_triggers_option
@_which
def set_triggers(
    *,
    triggers: tuple[str, ...],
    no_triggers: bool,
    app_id: str,
    webhook_id: str,
    wait: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Let a webhook have exactly these TRIGGERS, such as message_sent."""
    from tasks.audited import about_webhook, audited
    from tasks.changes import set_triggers

    if bool(triggers) == no_triggers:
        raise click.UsageError("Give the names of the triggers, or --none.")
    about = about_webhook(app_id, webhook_id, options["account"])
    with audited("set-triggers", {**about, "triggers": len(triggers)}) as result:
        job = set_triggers(app_id, webhook_id, triggers, **options)
        result["job"] = job.id
    return end_of(job, "Accepted", wait, as_json=as_json)
