"""`reseal`: sealed passwords after a new key."""

from __future__ import annotations

import json

import click

from tasks.commands import Command
from tasks.options import json_option


@click.command(cls=Command)
@json_option
def reseal(*, as_json: bool) -> int:
    """Seal each password that is kept with the newest key; then the old one can go.

    It needs the keys of workers: SEALING_PRIVATE_KEYS=new,old. Workers may be at work
    meanwhile. Exits with 1 if a password could not be sealed anew.
    """
    from tasks.audited import audited
    from tasks.display import progress
    from tasks.resealing import KEPT_PROBLEMS, Resealing
    from tasks.store import get_store

    run = Resealing()
    with progress(wanted=not as_json) as bar, audited("reseal") as result:
        task = bar.add_task("Resealing", total=get_store().count())
        run.run(lambda done: bar.update(task, completed=done))
        result |= {"resealed": run.resealed, "not": run.problem_count}
    if as_json:
        click.echo(json.dumps(run.as_json()))
        return 1 if run.problem_count else 0
    for problem in run.problems:
        click.echo(problem, err=True)
    if run.problem_count > KEPT_PROBLEMS:
        click.echo(f"... and {run.problem_count - KEPT_PROBLEMS} more", err=True)
    click.echo(f"{run.resealed} resealed, {run.problem_count} not")
    for key_id, jobs in sorted(run.old_marks.items()):
        click.echo(
            f"{jobs} ended jobs have passwords that key {key_id} compares: keep it behind the new "
            "one (new,old) where webhooks are enqueued until these jobs are gone, so that their "
            "webhooks can be enqueued again.",
            err=True,
        )
    return 1 if run.problem_count else 0
