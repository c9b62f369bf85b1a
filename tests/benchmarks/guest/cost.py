"""What the gate costs where there is no limit: the program beside a copy of it without the gate."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.guest.figures import Figure, least, most
from tests.benchmarks.guest.world import say
from worker.stack import ROOT

#: What a copy needs of the repository.
NEEDED = ("config", "tasks", "worker", "tests")
#: Pairs of runs, the order changed from pair to pair: the machine is not the same all the time.
PAIRS = 5
#: Seconds for one run.
LONGEST = 180.0
#: At least so much of the throughput is left; so many steps more for each job.
LEFT, STEPS = 0.95, 1.0

#: Put behind tasks/gate.py: nothing is asked, read or told.
NO_GATE = """

Turn.before_call = lambda self: None
Turn.after_call = lambda self, headers: None
Turn.told = lambda self, failure=None: Told()
"""


def cost() -> list[Figure]:
    """Throughput and steps with the gate and without."""
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        without = copy_without_gate(Path(folder) / "without")
        with_gate = copied(Path(folder) / "with")
        pairs = []
        for number in range(PAIRS):
            order = (with_gate, without) if number % 2 else (without, with_gate)
            readings = {place: _measure(place) for place in order}
            pairs.append((readings[with_gate], readings[without]))
            one, other = pairs[-1]
            say(f"with {_words(one)}; without {_words(other)}")
    left = statistics.median(one["rate"] / other["rate"] for one, other in pairs)
    steps = statistics.median(one["steps"] - other["steps"] for one, other in pairs)
    time = statistics.median(one["processor_ms"] / other["processor_ms"] for one, other in pairs)
    rates = [statistics.median(pair[n]["rate"] for pair in pairs) for n in (0, 1)]
    return [
        least("throughput with the gate, of that without", left, LEFT, "{:.1%}"),
        most("more Redis steps a job", steps, STEPS, "{:.2f}"),
        most("processor time a job, of that without", time, unit="{:.1%}"),
        least("jobs a second with the gate", rates[0]),
        least("jobs a second without", rates[1]),
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


def _measure(place: Path) -> Mapping[str, float]:
    """Run the throughput in a copy. Raises `RuntimeError` with its words if that fails."""
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.guest.throughput"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, problems = run.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        run.terminate()  # so that its stack ends with it
        run.wait(30)
        raise RuntimeError(f"no throughput within {LONGEST:g} s") from None
    if run.returncode != 0:
        raise RuntimeError(f"the throughput was not measured:\n{problems[-2_000:]}")
    found: Mapping[str, float] = json.loads(output.splitlines()[-1])
    return found


def _words(found: Mapping[str, float]) -> str:
    return (
        f"{found['rate']:.0f} jobs/s, {found['steps']:.2f} steps, "
        f"{found['processor_ms']:.2f} ms a job"
    )
