"""The command `python -m worker.sandbox`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from config.terminal import escape_what_cannot_be_shown
from worker.sandbox.answers import SHAPES
from worker.sandbox.server import serve
from worker.sandbox.settings import (
    DEFAULT_KEY,
    DEFAULT_NEW_KEY,
    DEFAULT_NEW_SECRET,
    DEFAULT_SECRET,
    Settings,
    parse_faults,
    parse_manners,
)
from worker.sandbox.timeline import find_timeline, read_timeline


@click.command(context_settings={"auto_envvar_prefix": "SANDBOX", "show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 for a free one.")
@click.option(
    "--key", default=DEFAULT_KEY, help="What the header key must be; rather give SANDBOX_KEY."
)
@click.option(
    "--secret",
    default=DEFAULT_SECRET,
    help="What the header secret must be; rather give SANDBOX_SECRET.",
)
@click.option("--new-key", default=DEFAULT_NEW_KEY, help="The key that a timeline rotates to.")
@click.option(
    "--new-secret",
    default=DEFAULT_NEW_SECRET,
    help="Its secret; rather give SANDBOX_NEW_SECRET.",
)
@click.option("--faults", default="", help="mixed:RATE, or a JSON list of rules.")
@click.option("--latency", default=0.0, help="Seconds that each call takes at least.")
@click.option("--seed", default=None, type=int, help="Makes the faults repeatable.")
@click.option(
    "--duplicate",
    default="400",
    type=click.Choice(["400", "403", "409", "417", "422"]),
    help="Status for an id that is taken.",
)
@click.option(
    "--manners",
    default="",
    help="What no documentation says, a JSON object: see worker/sandbox/manners.py.",
)
@click.option(
    "--shape", default="object", type=click.Choice(SHAPES), help="How answers wrap a webhook."
)
@click.option("--apps", default=None, help="The app ids that exist, by commas; else all do.")
@click.option(
    "--app-appears-after", default=0.0, help="Seconds until an app that was made is found."
)
@click.option("--timeline", default=None, help="What happens when: a TOML file, or a ready day.")
@click.option(
    "--begin",
    default="at-once",
    type=click.Choice(["at-once", "when-told"]),
    help="When the timeline begins; a POST to /_sandbox/timeline tells it.",
)
def main(
    host: str,
    port: int,
    faults: str,
    duplicate: str,
    manners: str,
    apps: str | None,
    timeline: str | None,
    begin: str,
    **others: Any,
) -> None:
    """A stand-in for CometChat's Management API: its webhook operations, in memory.

    Every option can be given in the environment too, as SANDBOX_PORT and so on. The control
    calls under /_sandbox/ need no credentials.
    """
    try:
        settings = Settings(
            faults=tuple(parse_faults(faults)),
            duplicate=int(duplicate),
            apps=None if apps is None else tuple(each for each in apps.split(",") if each),
            **parse_manners(manners),
            **others,
        )
        day = None if not timeline else read_timeline(find_timeline(timeline))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        playing = serve(
            settings,
            host,
            port,
            _announce,
            timeline=day,
            begins=begin == "at-once",
            say=click.echo,
        )
        asyncio.run(playing)
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host}:{port}: {error}") from None


def _announce(base_url: str) -> None:
    click.echo(f"sandbox listening on {base_url}")


if __name__ == "__main__":
    escape_what_cannot_be_shown()
    main(prog_name="python -m worker.sandbox")
