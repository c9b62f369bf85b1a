"""What the gate costs where there is no limit: the program beside a copy of it without the gate.

Both are started at the same time, each on a stack of its own, and take turns of two seconds: each
has all processors then, and what else the machine does hits both alike.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.guest.figures import Figure, least, most
from tests.benchmarks.guest.world import say
from worker.stack import ROOT

#: What a copy needs of the repository.
NEEDED = ("config", "tasks", "worker", "tests")
#: How often both are started anew: where a process runs is chance.
STARTS = 4
#: How often each has its turn after a start. The first ones end what the freeze before was too long
#: for, and do not count.
TURNS, UNEVEN = 18, 2
#: Seconds until one is warm; a window takes two.
LONGEST = 180.0
#: At least so much of the throughput is left; so many steps more for each job.
LEFT, STEPS = 0.95, 1.0

#: Put behind tasks/gate.py: nothing is asked, read or told.
NO_GATE = """

Turn.before_call = lambda self: None
Turn.after_call = lambda self, headers: None
Turn.told = lambda self, failure=None: Told()
"""

Windows = list[dict[str, float]]


def cost() -> list[Figure]:
    """Throughput and steps with the gate and without."""
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        places = copied(Path(folder) / "with"), copy_without_gate(Path(folder) / "without")
        for number in range(STARTS):
            turned = -1 if number % 2 else 1
            windows = in_turns(places[::turned])[::turned]
            pairs += zip(*windows, strict=True)
            say("; ".join(map(_words, windows)))

    def median(name: str, which: int) -> float:
        return statistics.median(pair[which][name] for pair in pairs)

    def compared(name: str) -> float:
        return statistics.median(one[name] / other[name] for one, other in pairs)

    return [
        least("throughput with the gate, of that without", compared("rate"), LEFT, "{:.1%}"),
        most("more Redis steps a job", median("steps", 0) - median("steps", 1), STEPS, "{:.2f}"),
        most("processor time a job, of that without", compared("processor_ms"), unit="{:.1%}"),
        least("jobs a second with the gate", median("rate", 0)),
        least("jobs a second without", median("rate", 1)),
    ]


def copied(to: Path) -> Path:
    """Copy the program."""
    to.mkdir()
    for part in NEEDED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, to / part, ignore=ignored)
    return to


def copy_without_gate(to: Path) -> Path:
    """Copy the program, without the gate."""
    copied(to)
    shutil.copy(Path(__file__).with_name("no_gate.lua"), to / "tasks" / "lua" / "gate.lua")
    with (to / "tasks" / "gate.py").open("a") as file:
        file.write(NO_GATE)
    return to


def in_turns(places: Sequence[Path]) -> list[Windows]:
    """Measure the throughput in each of the copies, each with all processors.

    Raises:
        RuntimeError: one did not measure, or not in time.
    """
    runs = [_started(place) for place in places]
    found: list[Windows] = [[] for _ in runs]
    try:
        for run in runs:
            _said(run)  # that it is warm
        for turn in range(TURNS):
            # Who is first has both the earlier window and the later one in turn.
            for which in sorted(range(len(runs)), reverse=turn % 2 == 1):
                _tell(runs[which], "go")
                found[which].append(json.loads(_said(runs[which])))
        return [windows[UNEVEN:] for windows in found]
    finally:
        for run in runs:
            run.communicate(timeout=LONGEST)  # no more lines: it ends its parts, and itself


def _tell(run: subprocess.Popen[str], words: str) -> None:
    assert run.stdin
    run.stdin.write(words + "\n")
    run.stdin.flush()


def _said(run: subprocess.Popen[str]) -> str:
    """The next line of one. Raises `RuntimeError` if it does not come."""
    assert run.stdout
    if select.select([run.stdout], [], [], LONGEST)[0] and (line := run.stdout.readline()):
        return line.strip()
    raise RuntimeError(f"no throughput in {LONGEST:g} s, exit code {run.poll()}")


def _started(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.guest.throughput"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _words(windows: Windows) -> str:
    rates = " ".join(f"{each['rate']:.0f}" for each in windows)
    processor = statistics.median(each["processor_ms"] for each in windows)
    return f"{rates} jobs/s, {processor:.2f} ms a job"
