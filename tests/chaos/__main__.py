"""`python -m tests.chaos`, which `make chaos` is: break everything, and print what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.registry import Scenario, scenarios
from tests.chaos.report import Report
from worker.stack import end_with_parent

SEEDS = (1, 2, 3)

#: What the machine bears at once: a heavy run beside a light one, or three light ones.
CAPACITY = 3
HEAVY, LIGHT = 2, 1

#: Seconds after which a run hangs.
LONGEST = 1_200

#: Runs one scenario; its name, seed and form follow.
COMMAND = (sys.executable, "-m", "tests.chaos.run")


class Run:
    """One scenario with one seed, in a process of its own."""

    def __init__(self, scenario: Scenario, seed: int, form: str, folder: Path) -> None:
        self.scenario, self.seed = scenario, seed
        self.weight = HEAVY if scenario.heavy else LIGHT
        self.log = folder / f"{scenario.name}-{seed}.log"
        self._out = folder / f"{scenario.name}-{seed}.out"
        self._give_up = time.monotonic() + LONGEST
        self._hung = False
        command = [*COMMAND, scenario.name, str(seed), form]
        with self._out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def is_over(self) -> bool:
        """Whether it has ended; one that hangs is ended."""
        if self.process.poll() is None and time.monotonic() > self._give_up:
            self._hung = True
            self.end()
        return self.process.poll() is not None

    def end(self) -> None:
        """End it and what it started, which ends with its parent."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)

    def report(self) -> Report:
        """What it found: bad, too, if it did not end as a good run does, whatever it said."""
        code = self.process.returncode
        try:
            found = Report.read(self._out.read_text().splitlines()[-1])
        except (IndexError, ValueError, TypeError):
            found = Report(self.scenario.name, self.seed, problems=["no report"])
        if self._hung:
            found.problems.append(f"it hung, and was ended after {LONGEST} s")
        elif code != int(not found.is_good):
            found.problems.append(f"exit code {code}")
        if (found.name, found.seed) != (self.scenario.name, self.seed):
            found.problems.append(f"the report of {found.name} with seed {found.seed}")
            found.name, found.seed = self.scenario.name, self.seed
        return found


def run_all(wanted: Sequence[tuple[Scenario, int]], form: str, folder: Path) -> Iterator[Run]:
    """Run them, the heavy ones first, as many at once as the machine bears."""
    waiting = sorted(wanted, key=lambda one: not one[0].heavy)
    running: list[Run] = []
    try:
        while waiting or running:
            room = CAPACITY - sum(run.weight for run in running)
            for one in waiting:
                if (HEAVY if one[0].heavy else LIGHT) <= room:
                    waiting.remove(one)
                    running.append(Run(*one, form, folder))
                    break
            else:
                time.sleep(0.1)
            for run in [run for run in running if run.is_over()]:
                running.remove(run)
                yield run
    finally:
        for run in running:
            run.end()


def table_of(reports: Sequence[Report], faults: dict[str, str], form: str) -> Table:
    """A row for each fault, over all its seeds: sums of jobs, the longest times."""
    table = Table(title=f"Faults, {form} form, seeds {sorted({r.seed for r in reports})}")
    table.add_column("fault", overflow="fold", min_width=30)
    names = ("runs", "jobs", "lost", "doubled", "repeated\nattempts")
    for name in (*names, "last job\nended after", "first job\nafter a fault"):
        table.add_column(name, justify="right")
    for name, fault in faults.items():
        of_it = [report for report in reports if report.name == name]
        if not of_it:
            continue
        last = max((r.last_ended for r in of_it if r.last_ended is not None), default=None)
        first = max((r.first_after for r in of_it if r.first_after is not None), default=None)
        counts = (
            [len(of_it)],
            [r.jobs for r in of_it],
            [r.lost for r in of_it],
            [r.doubled for r in of_it],
            [r.repeated for r in of_it],
        )
        table.add_row(
            escape(f"{name}: {fault}"),
            *(f"{sum(numbers):,}" for numbers in counts),
            *("" if seconds is None else f"{seconds:.1f} s" for seconds in (last, first)),
            style="" if all(r.is_good for r in of_it) else "bold red",
        )
    return table


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="This scenario; may be repeated.")
@click.option("--seed", "seeds", multiple=True, type=int, help="Instead of 1, 2 and 3.")
@click.option("--short", is_flag=True, help="The short forms, as in `make test`.")
@click.option("--list", "only_list", is_flag=True, help="The scenarios' names.")
def main(only: tuple[str, ...], seeds: tuple[int, ...], short: bool, only_list: bool) -> None:
    """Run the faults and print a table; exit code 1 if a promise was broken.

    A failure can be run again: --only NAME --seed SEED.
    """
    known = scenarios()
    if only_list:
        for one in known.values():
            click.echo(f"{one.name:24}{one.fault}")
        return
    if unknown := set(only) - known.keys():
        raise click.UsageError(f"No scenario {', '.join(sorted(unknown))}; see --list.")
    wanted = [
        (one, seed)
        for one in known.values()
        if not only or one.name in only
        for seed in (seeds or SEEDS[: one.seeds])
    ]
    form = "short" if short else "long"
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    console = Console(width=120) if not sys.stdout.isatty() else Console()
    console.print(f"{len(wanted)} runs; their logs are in {folder}")
    began = time.monotonic()
    reports = []
    for run in run_all(wanted, form, folder):
        report = run.report()
        reports.append(report)
        words = "; ".join((*report.notes, *(f"BROKEN: {one}" for one in report.problems)))
        counts = f"{report.jobs} jobs, {report.lost} lost, {report.doubled} doubled"
        good = "[green]good[/]" if report.is_good else "[bold red]BAD[/] "
        console.print(
            f"{good} {report.name} seed {report.seed}: {counts}, {report.took:.0f} s. "
            f"{escape(words)}",
            highlight=False,
        )
    console.print(table_of(reports, {name: one.fault for name, one in known.items()}, form))
    bad = [report for report in reports if not report.is_good]
    console.print(f"{len(reports)} runs in {time.monotonic() - began:.0f} s, {len(bad)} bad")
    for report in bad:
        console.print(f"again: python -m tests.chaos --only {report.name} --seed {report.seed}")
    # Without a run nothing was shown.
    sys.exit(bool(bad) or not reports)


if __name__ == "__main__":
    main(prog_name="python -m tests.chaos")
