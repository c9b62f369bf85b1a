"""`audit`: who changed what."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import click

from tasks.commands import Command
from tasks.options import Past, json_option


@click.command(cls=Command)
@click.option(
    "--since", type=Past(), metavar="WHEN", help=f"Not before this instant. {Past.__doc__}"
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def audit(*, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show who changed what by these commands or in Flower, the latest first.

    An action is noted before it is done; "not known" means that no end of it was noted, as it
    goes on or was cut off. The latest 5,000 are kept.
    """
    from tasks.audit_words import show_actions
    from tasks.store import get_store

    found = islice(get_store().audit.actions(since=since), limit)
    show_actions(found, limit=limit, as_json=as_json)
