"""`gate`: what the jobs of an account share, and a person's hand on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import click

from config.settings import get_settings
from tasks.commands import Command
from tasks.options import When, account_option, json_option

#: Seconds between two looks.
WATCH_SECONDS = 1.0
MAX_REASON = 200  # characters


class _Group(click.Group):
    command_class = Command


@click.group(cls=_Group, invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@json_option
@click.pass_context
def gate(context: click.Context, *, watch: bool, as_json: bool) -> None:
    """Show how each account's gate stands: calls allowed and made, and why jobs wait if they do."""
    if context.invoked_subcommand is None:
        context.invoke(_look, watch=watch, as_json=as_json)


@click.command(cls=Command)
def _look(*, watch: bool, as_json: bool) -> None:
    while True:
        _say(get_settings().accounts, as_json=as_json)
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


def _say(accounts: Sequence[str], *, as_json: bool) -> None:
    from tasks.display import say
    from tasks.gate_words import describe, values
    from tasks.store import get_store

    store = get_store()
    states, counts = [store.gate.look(account) for account in accounts], store.counts()
    say(describe(states, counts), values(states, counts), as_json=as_json)


def _known(account: str) -> str:
    """The account, if it is one: a gate of another would be closed for nobody."""
    if account not in (known := get_settings().accounts):
        raise click.UsageError(f"--account: must be one of: {', '.join(known)}.")
    return account


@gate.command()
@click.option("--reason", required=True, help="What people are to know about it.")
@click.option(
    "--until", type=When(), metavar="WHEN", help=f"When it ends by itself. {When.__doc__}"
)
@account_option
@json_option
def pause(*, reason: str, until: datetime | None, account: str, as_json: bool) -> None:
    """Make no calls for a while, as in a maintenance window. Jobs wait, calls under way end."""
    from tasks.audited import audited
    from tasks.store import get_store

    if len(reason) > MAX_REASON or not reason.isprintable():
        raise click.UsageError(f"--reason: at most {MAX_REASON} printable characters.")
    store = get_store()
    end = None if until is None else until.timestamp()
    if end is not None and end <= store.clock():
        raise click.UsageError("--until: is over already.")
    about = {"account": _known(account), "reason": reason, "until": until and until.isoformat()}
    with audited("gate pause", about):
        store.gate.pause(account, reason=reason, until=end)
    _say([account], as_json=as_json)


@gate.command()
@account_option
@json_option
def resume(*, account: str, as_json: bool) -> None:
    """Let calls be made again at once, whatever had closed the gate."""
    from tasks.audited import audited
    from tasks.display import say
    from tasks.gate_words import REASONS
    from tasks.store import get_store

    with audited("gate resume", {"account": _known(account)}) as result:
        was = get_store().gate.resume(account)
        result["was"] = was or None
    words = f"Open again; it was closed: {REASONS[was]}." if was else "It was open already."
    say(words, {"account": account, "was": was or None}, as_json=as_json)
