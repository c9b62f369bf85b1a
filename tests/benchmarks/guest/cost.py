"""What the gate costs where there is no limit: the program beside a copy of it without the gate.

Both run at the same time, each on a stack of its own: what else the machine does hits both alike.
Where each waits for the processor, the one that needs more of it for a job ends fewer jobs.
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
#: How often both are started anew, each first as often as the other: where a process runs is
#: chance, too: the same program beside itself had 103 to 109% of its own throughput.
STARTS = 4
#: Seconds until one is warm, and until it has measured.
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
            windows = side_by_side(places[::turned])[::turned]
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
        least("jobs a second with the gate, side by side", median("rate", 0)),
        least("jobs a second without, side by side", median("rate", 1)),
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


def side_by_side(places: Sequence[Path]) -> list[Windows]:
    """Measure the throughput in each of the copies, in all at the same time.

    Raises:
        RuntimeError: one did not measure, with its words, or not in time.
    """
    runs = [_started(place) for place in places]
    try:
        for run in runs:
            assert run.stdout
            ready, _, _ = select.select([run.stdout], [], [], LONGEST)
            if not ready or run.stdout.readline() != "warm\n":
                raise RuntimeError(f"no throughput in {LONGEST:g} s, exit code {run.poll()}")
        for run in runs:
            assert run.stdin
            run.stdin.write("go\n")
            run.stdin.flush()
        return [_found(run) for run in runs]
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no throughput within {LONGEST:g} s") from None
    finally:
        for run in runs:
            if run.poll() is None:
                run.terminate()  # its parts end with it
            run.wait(30)


def _started(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.guest.throughput"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _found(run: subprocess.Popen[str]) -> Windows:
    output, _ = run.communicate(timeout=LONGEST)
    if run.returncode != 0:
        raise RuntimeError(f"the throughput was not measured, exit code {run.returncode}")
    found: Windows = json.loads(output.splitlines()[-1])
    return found


def _words(windows: Windows) -> str:
    rates = " ".join(f"{each['rate']:.0f}" for each in windows)
    processor = statistics.median(each["processor_ms"] for each in windows)
    return f"{rates} jobs/s, {processor:.2f} ms a job"
