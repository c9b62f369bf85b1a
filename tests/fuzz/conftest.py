"""The fuzzer's last word: what each target came to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.harness import REPORT

#: Elsewhere, nobody tells what a process had at most.
collect_ignore_glob = [] if Path("/proc/self/clear_refs").exists() else ["test_*.py"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Pytest would keep each line of the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of targets that ran in this process; `make fuzz` runs all in one."""
    if REPORT:
        terminalreporter.section("fuzz")
        for name, report in sorted(REPORT.items()):
            terminalreporter.line(f"{name:18} {report}")
        cases = sum(report.cases for report in REPORT.values())
        terminalreporter.line(f"{'in all':18} {cases:6} cases")
