"""The fuzzer's last word: what each target came to."""

from __future__ import annotations

import pytest

from tests.fuzz.harness import REPORT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of targets that ran in this process; `make fuzz` runs all in one."""
    if REPORT:
        terminalreporter.section("fuzz")
        for name, report in sorted(REPORT.items()):
            terminalreporter.line(f"{name:16} {report}")
        cases = sum(report.cases for report in REPORT.values())
        terminalreporter.line(f"{'in all':16} {cases:6} cases")
