"""Faults in their short forms; `make chaos` runs the long ones, and those that have none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos.registry import scenarios
from tests.chaos.report import Report

SEED = os.environ.get("CHAOS_SEED", "1")


@pytest.mark.parametrize(
    "name", [one.name for one in scenarios().values() if one.short and not one.apart]
)
def test_nothing_is_lost_and_nothing_doubled(name: str) -> None:
    command = [sys.executable, "-m", "tests.chaos.run", name, SEED, "short"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout, run.stderr[-5_000:]
    report = Report.read(run.stdout.splitlines()[-1])
    assert report.is_good, f"seed {SEED}: {report}\n{run.stderr[-10_000:]}"
    assert (run.returncode, report.jobs > 0) == (0, True)
