"""`gate`: what the jobs of an account share, and a person's hand on it."""

from __future__ import annotations

import time
from datetime import datetime

import click

from tasks.commands import Command
from tasks.options import When, json_option
from tasks.record import ACCOUNT

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
    """Show how the account's gate stands: calls allowed and made, and why jobs wait if they do."""
    if context.invoked_subcommand is None:
        context.invoke(_look, watch=watch, as_json=as_json)


@click.command(cls=Command)
def _look(*, watch: bool, as_json: bool) -> None:
    from tasks.display import say
    from tasks.gate_words import describe, values
    from tasks.store import get_store

    store = get_store()
    while True:
        state, counts = store.gate.look(ACCOUNT), store.counts()
        say(describe(state, counts), values(state, counts), as_json=as_json)
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


@gate.command()
@click.option("--reason", required=True, help="What people are to know about it.")
@click.option(
    "--until", type=When(), metavar="WHEN", help=f"When it ends by itself. {When.__doc__}"
)
@json_option
def pause(*, reason: str, until: datetime | None, as_json: bool) -> None:
    """Make no calls for a while, as in a maintenance window. Jobs wait, calls under way end."""
    from tasks.display import say
    from tasks.gate_words import describe, values
    from tasks.store import get_store

    if len(reason) > MAX_REASON or not reason.isprintable():
        raise click.UsageError(f"--reason: at most {MAX_REASON} printable characters.")
    store = get_store()
    end = None if until is None else until.timestamp()
    if end is not None and end <= store.clock():
        raise click.UsageError("--until: is over already.")
    store.gate.pause(ACCOUNT, reason=reason, until=end)
    state, counts = store.gate.look(ACCOUNT), store.counts()
    say(describe(state, counts), values(state, counts), as_json=as_json)


@gate.command()
@json_option
def resume(*, as_json: bool) -> None:
    """Let calls be made again at once, whatever had closed the gate."""
    from tasks.display import say
    from tasks.gate_words import REASONS
    from tasks.store import get_store

    was = get_store().gate.resume(ACCOUNT)
    words = f"Open again; it was closed: {REASONS[was]}." if was else "It was open already."
    say(words, {"account": ACCOUNT, "was": was or None}, as_json=as_json)
