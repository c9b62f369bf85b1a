"""`make bench`: this program beside other task queues, in one run, in turns.

Prints each figure beside its bound, and draws plots. Exits with 1 where a bound is missed. The
machine is noisy, so read the ratios.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

import click

from tests.benchmarks.peers.contestants import (
    CONTESTANTS,
    DRAMATIQ,
    HERE,
    OURS,
    PEERS,
    TASKIQ,
    Contestant,
)
from tests.benchmarks.peers.measure import Figures, drain, trickle

#: Seconds that the API takes, in the order in which they are measured.
LATENCIES: Final = (0.05, 0.0, 0.2)
#: Single jobs a second.
RATE: Final = 300.0

Measured = dict[str, list[Figures]]


class Bound(NamedTuple):
    """A figure of this program as a part of another's: what it is, and what it may be."""

    what: str
    of: Callable[[Figures], float]
    peer: Contestant
    least: float | None = None
    most: float | None = None

    def row(self, measured: Measured) -> tuple[str, bool]:
        """A line of the table, and whether the bound holds."""
        ours, theirs = (_middle(measured[one.name], self.of) for one in (OURS, self.peer))
        ratio = ours / theirs
        holds = (self.least or 0.0) <= ratio <= (self.most or float("inf"))
        bound = f"at least {self.least}" if self.least else f"at most {self.most}"
        verdict = "yes" if holds else "**NO**"
        figures = f"{ours:.2f} | {theirs:.2f} ({self.peer.name}) | {ratio:.2f}"
        return f"| {self.what} | {figures} | {bound} | {verdict} |", holds


def _jobs(figures: Figures) -> float:
    return figures.jobs_per_second


def _worker(figures: Figures) -> float:
    return figures.worker


def _redis(figures: Figures) -> float:
    return figures.redis


DRAIN: Final = (
    Bound("jobs a second on one core, 50 ms latency", _jobs, DRAMATIQ, least=1.2),
    Bound("the same", _jobs, TASKIQ, least=1.1),
    Bound("worker's processor, ms a job", _worker, DRAMATIQ, most=0.8),
    Bound("Redis's processor, ms a job, enqueueing included", _redis, DRAMATIQ, most=1.0),
    Bound("enqueueing one job, p50 ms", lambda f: f.enqueue_p50, CONTESTANTS[1], most=1.0),
    Bound("enqueueing one job, p99 ms", lambda f: f.enqueue_p99, CONTESTANTS[1], most=1.5),
)
TRICKLE: Final = (
    Bound(f"worker's processor, ms a job, one by one at {RATE:g}/s", _worker, DRAMATIQ, most=1.0),
)


def _middle(figures: Sequence[Figures], of: Callable[[Figures], float]) -> float:
    return statistics.median(map(of, figures))


@click.command()
@click.option("--jobs", default=3_000, help="In each run.")
@click.option("--rounds", default=3, help="Each figure is the middle of so many runs.")
@click.option("--only", multiple=True, help="This contestant, besides ours; may be repeated.")
@click.option("--plots", type=click.Path(path_type=Path), help="A folder for PNG files.")
def main(*, jobs: int, rounds: int, only: Sequence[str], plots: Path | None) -> None:
    """Compare this program with other task queues, on one core each."""
    if not PEERS.exists():
        sys.exit(f"{PEERS.parent} is missing: `make peers` makes it.")
    chosen = [one for one in CONTESTANTS if not only or one.name in (OURS.name, *only)]
    everything: dict[str, Measured] = {}
    holds = True
    for latency in LATENCIES:
        name = f"{latency * 1_000:g} ms latency"
        measured = everything[name] = _in_turns(
            chosen, rounds, name, lambda one, s=latency: drain(one, jobs=jobs, latency=s)
        )
        _table(name, measured)
        if latency == LATENCIES[0]:
            holds &= _bounds(DRAIN, measured)
    singles = [one for one in chosen if one in (OURS, DRAMATIQ)]
    name = f"one by one at {RATE:g}/s"
    measured = everything[name] = _in_turns(
        singles, rounds, name, lambda one: trickle(one, jobs=jobs, rate=RATE, latency=0.05)
    )
    holds &= _bounds(TRICKLE, measured)
    if plots:
        _draw(everything, plots)
    sys.exit(not holds)


def _in_turns(
    chosen: Sequence[Contestant],
    rounds: int,
    name: str,
    run: Callable[[Contestant], Figures],
) -> Measured:
    measured: Measured = {one.name: [] for one in chosen}
    for number in range(rounds):
        for one in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            click.echo(f"{name}, round {number + 1} of {rounds}: {one.name}", err=True)
            measured[one.name].append(run(one))
    return measured


def _table(name: str, measured: Measured) -> None:
    click.echo(f"\n| {name} | jobs/s | worker, ms a job | Redis, ms a job | enqueue p50, ms |")
    click.echo("| --- | --- | --- | --- | --- |")
    for one, figures in measured.items():
        values = [_middle(figures, of) for of in (_jobs, _worker, _redis)]
        values.append(_middle(figures, lambda f: f.enqueue_p50))
        click.echo(
            f"| {one} | {values[0]:.0f} | " + " | ".join(f"{v:.2f}" for v in values[1:]) + " |"
        )


def _bounds(bounds: Sequence[Bound], measured: Measured) -> bool:
    rows = [bound.row(measured) for bound in bounds if bound.peer.name in measured]
    click.echo("\n| figure | this program | other | ratio | bound | holds |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for row, _ in rows:
        click.echo(row)
    return all(holds for _, holds in rows)


def _draw(everything: dict[str, Measured], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        name: {one: [asdict(figures) for figures in runs] for one, runs in measured.items()}
        for name, measured in everything.items()
    }
    (folder / "bench.json").write_text(json.dumps(told, indent=1))
    command = [str(PEERS / "python"), str(HERE / "plots.py"), str(folder)]
    subprocess.run(command, check=True)  # nosec B603  # our own command


if __name__ == "__main__":
    main()
