"""The commands of `python -m tasks`, a file for each thing that a person wants.

Results go to standard output, all else to standard error. What takes long to import is imported
by the command that needs it: `--help` is quick.
"""

from __future__ import annotations

from typing import Any

import click


class Stopped(Exception):
    """A person pressed Ctrl-C; the message says what was done until then."""


class Command(click.Command):
    """A command that looks at the settings first: a mistake in them is told before any other."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what it returns is the exit code."""
        from config.logging import configure_logging
        from config.settings import get_settings

        configure_logging(get_settings())
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None
