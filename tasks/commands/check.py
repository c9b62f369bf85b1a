"""`check`: what should not be in Redis."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import click

from tasks.commands import Command
from tasks.options import json_option

#: So many jobs that were mended are named in the audit stream.
NAMED: Final = 15


@click.command(cls=Command)
@click.option("--repair", is_flag=True, help="Mend what can be mended; no job is lost by it.")
@json_option
def check(*, repair: bool, as_json: bool) -> int:
    """Look whether every job is where it belongs. Workers may be at work meanwhile.

    Exits with 0 if nothing is (left) wrong, else with 1.
    """
    from tasks.audited import audited
    from tasks.display import say_problem
    from tasks.repair import find_problems

    mended = left = 0
    noted: AbstractContextManager[dict[str, Any]] = nullcontext({})
    if repair:
        noted = audited("check --repair")
    with noted as result:
        for problem in find_problems(repair=repair):
            mended += problem.mended
            left += not problem.mended
            say_problem(problem, as_json=as_json)
            if problem.mended and mended <= NAMED:
                result.setdefault("jobs", []).append(problem.job_id)
            result |= {"mended": mended, "left": left}
    if not mended + left:
        click.echo("Nothing to repair.", err=True)
    elif repair:
        click.echo(f"{mended} mended, {left} left.", err=True)
    else:
        click.echo(f"{left} found. --repair mends what can be mended.", err=True)
    return 1 if left else 0
