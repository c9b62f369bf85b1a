"""The group of commands that is `python -m tasks`."""

from __future__ import annotations

import click

from tasks.commands.audit import audit
from tasks.commands.change import delete, set_triggers, update
from tasks.commands.check import check
from tasks.commands.end import cancel, forget
from tasks.commands.enqueue import enqueue
from tasks.commands.gate import gate
from tasks.commands.import_file import import_file
from tasks.commands.look import list_, status
from tasks.commands.reseal import reseal
from tasks.commands.retry import retry


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Create and change CometChat webhooks from a queue, and see to their jobs.

    Exit codes: 0 done; 1 a job that was waited for failed, a step was refused, `retry --failed`
    was not told to go on, or `check` found what it did not mend; 2 bad input; 3 Redis cannot be
    used, or did not confirm; 4 a job that was waited for goes on; 130 interrupted.
    """


for command in (
    *(enqueue, import_file, update, delete, set_triggers),
    *(status, list_, retry, cancel, forget, check, gate, reseal, audit),
):
    cli.add_command(command)
