"""The command `python -m tests.benchmarks.guest`: `make bench-guest`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import click

from tasks import WebhookJobError
from tests.benchmarks.guest import away, cost, fairness, limits
from tests.benchmarks.guest.figures import HEAD, Figure, as_json, merged, most, rows
from tests.benchmarks.guest.world import say

#: Each day by its name; how the table calls it.
DAYS: dict[str, tuple[str, Callable[[], list[Figure]]]] = {
    "limit-announced": ("limit announced", limits.announced),
    "limit-silent": ("limit not announced", limits.silent),
    "limit-waits-1": ("limit not announced, `Retry-After: 1`", partial(limits.told_to_wait, 1)),
    "limit-waits-5": ("limit not announced, `Retry-After: 5`", partial(limits.told_to_wait, 5)),
    "limit-minute": ("as many by the minute, `Retry-After: 1`", limits.by_the_minute),
    "limit-changes": ("limit 100, then 50, then 200", limits.changed),
    "outage": ("120 s outage, 5,000 jobs wait", away.outage),
    "key-refused": ("key refused for 120 s", away.key_refused),
    "key-resumed": ("the same for 125 s, then `gate resume`", away.key_resumed),
    "interactive": ("50,000 bulk jobs, and one each second", fairness.interactive),
    "tenants": ("20,000 jobs and 20 of another", fairness.tenants),
    "cost": ("cost of the gate, no limit", cost.cost),
}


def played(words: str, day: Callable[[], list[Figure]], runs: int) -> list[Figure]:
    """The figures of so many runs of a day; one that says why, if it could not be measured."""
    done = []
    for run in range(1, runs + 1):
        say(f"{words}: run {run} of {runs}")
        try:
            done.append(day())
        except (RuntimeError, TimeoutError, WebhookJobError) as error:  # a stack's end is one
            say(f"not measured: {error}")
            return [most(f"not measured: {str(error).splitlines()[0][:100]}", 1, 0)]
    return merged(done)


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(list(DAYS)), help="A day; may be given again."
)
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1, 20))
@click.option("--json", "as_values", is_flag=True, help="For a program.")
def main(only: tuple[str, ...], runs: int, as_values: bool) -> None:
    """Play bad days of the API, and print what each cost with its bound; 1 if one is broken."""
    lines, values, good = [], [], True
    began = time.monotonic()
    for name, (words, day) in DAYS.items():
        if only and name not in only:
            continue
        figures = played(words, day, runs)
        good = good and all(figure.holds for figure in figures)
        lines += rows(words, figures)
        values += as_json(words, figures)
        for row in rows(words, figures):
            say(row)
    if as_values:
        click.echo(json.dumps({"figures": values, "good": good}, indent=2))
    else:
        click.echo("\n".join([HEAD, *lines]))
    say(f"{time.monotonic() - began:.0f} s; {'every bound holds' if good else 'a bound is BROKEN'}")
    sys.exit(not good)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.guest")
