"""`python -m tests.supply_chain audit`, `pythons` and `sbom`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tests.supply_chain.audit import audit as run_audit
from tests.supply_chain.pythons import verdicts
from tests.supply_chain.sbom import bill


@click.group()
def main() -> None:
    """What the program is made of."""


@main.command()
def audit() -> None:
    """Exit with 0 if no package has a known vulnerability, 1 if one has, 2 if not checked."""
    code, words = run_audit()
    click.echo(words, err=code != 0)
    sys.exit(code)


@main.command()
def pythons() -> None:
    """Exit with 0 if the lock can be installed on the oldest and the newest Python that is here."""
    told = dict(verdicts())
    for version, problem in told.items():
        click.echo(f"Python {version}: {problem or 'all can be installed'}", err=bool(problem))
    sys.exit(any(told.values()))


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default="sbom.cdx.json")
def sbom(file: Path) -> None:
    """Write the bill of materials."""
    file.write_text(bill() + "\n")
    click.echo(f"Written: {file}")


if __name__ == "__main__":
    main(prog_name="python -m tests.supply_chain")
