"""How the audit stream looks to a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.table import Table

from tasks.audit import Action
from tasks.display import console
from tasks.plain import local, plain


def show_actions(actions: Iterable[Action], *, limit: int, as_json: bool) -> None:
    """A line for each action; `limit` of them may not be all."""
    shown = list(actions)
    if as_json:
        for action in shown:
            click.echo(json.dumps(action.as_json()))
    elif shown:
        console().print(action_table(shown))
    else:
        click.echo("There are no such entries.", err=True)
    if len(shown) == limit:
        click.echo(f"These are {limit}; there may be more: see --limit.", err=True)


def action_table(actions: Iterable[Action]) -> Table:
    """A row for each action."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("When", no_wrap=True)
    for name in ("Who", "Action", "On", "Outcome"):
        table.add_column(name, overflow="fold")
    for action in actions:
        who = action.who
        way = "" if who.via == "command line" else f" ({who.via})"
        ended = action.outcome or "not known"
        came = f"{ended}, {_words(action.result)}" if action.result else ended
        texts = f"{who.user} at {who.host}{way}", action.action, _words(action.on), came
        table.add_row(local(action.at.timestamp()), *map(plain, texts))
    return table


def _words(values: Mapping[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    lists = {n: " ".join(map(str, v)) for n, v in given.items() if isinstance(v, list)}
    return ", ".join(f"{name}: {value}" for name, value in {**given, **lists}.items())
