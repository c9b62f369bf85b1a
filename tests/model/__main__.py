"""`make model`: checks the protocol's model exhaustively and prints a table; ends with 1 if wrong.

Wrong is a claim that must hold and does not, and a run that must be found and is not: a planted
fault, or what README says can go wrong.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import click

from tests.model.checks import Check, checks
from tests.model.verifier import INSTALL, NotVerified, Verdict, is_installed, verify


def line_of(check: Check, verdict: Verdict) -> str:
    """A row of the table."""
    found = "holds" if verdict.holds else f"BROKEN in {len(verdict.story)} steps"
    if not check.holds:
        found = "NOT FOUND" if verdict.holds else f"found, {len(verdict.story)} steps"
    if not verdict.is_exhaustive:
        found += " (not every state)"
    figures = (
        f"{verdict.states:>9} {verdict.depth:>6} {verdict.memory:>6.0f} {verdict.seconds:>5.0f}"
    )
    return f"  {check.what:<66} {figures}  {found}"


@click.command()
@click.option("--only", default="", help="Only checks whose heading or row has this text.")
@click.option("--stories", is_flag=True, help="Print the run of everything that was found.")
def main(only: str, stories: bool) -> None:
    """Check the model of the protocol."""
    if not is_installed():
        raise click.ClickException(INSTALL)
    chosen = [one for one in checks() if only in one.group or only in one.what]
    heading, wrong = "", 0
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for check, verdict in zip(
            chosen,
            pool.map(lambda one: verify(*one.flags, is_small=not one.holds), chosen),
            strict=True,
        ):
            if check.group != heading:
                heading = check.group
                click.echo(f"\n{heading}\n{'states  depth     MB     s':>95}")
            click.echo(line_of(check, verdict))
            is_wrong = verdict.holds != check.holds
            wrong += is_wrong
            if verdict.story and (stories or is_wrong):
                click.echo("".join(f"        {step}\n" for step in verdict.story), nl=False)
    click.echo(f"\n{len(chosen)} checks, {wrong} of them not as they must be")
    sys.exit(1 if wrong or not chosen else 0)


if __name__ == "__main__":
    try:
        main()
    except NotVerified as error:
        sys.exit(f"The model was not verified: {error}")
