"""`python -m worker check`: findings, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.commands import NOWHERE, REPOSITORY
from worker.sandbox import SandboxControl
from worker.stack import Stack


def check(stack: Stack, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "check"],
        cwd=REPOSITORY,
        env={**stack.env, **env},
        capture_output=True,
        timeout=60,
    )
    shown = (done.stdout + done.stderr).decode()
    assert "Traceback" not in shown
    assert "sandbox-secret" not in shown
    return done.returncode, shown


def test_all_is_well(stack: Stack, sandbox: SandboxControl) -> None:
    code, shown = check(stack)
    assert code == 0
    assert {line.split()[0] for line in shown.splitlines()} == {"ok"}
    assert "answers and accepts the key" in shown


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COMETCHAT_KEY", "schlüssel", "COMETCHAT_KEY must be printable ASCII"),
        ("COMETCHAT_SECRET", "geheim\u200bnis", "COMETCHAT_SECRET must be printable ASCII"),
        ("COMETCHAT_SECRET", "wrong", "error   API: "),
        ("COMETCHAT_KEY", "", "COMETCHAT_KEY: is missing"),
        ("COMETCHAT_BASE_URL", "http://127.0.0.1:1", "error   API: "),
        ("REDIS_URL", NOWHERE, "error   Redis: "),
    ],
)
def test_a_mistake_is_a_finding(
    stack: Stack, sandbox: SandboxControl, name: str, value: str, words: str
) -> None:
    code, shown = check(stack, **{name: value})
    assert code == 1
    assert words in shown
    assert "geheim" not in shown and "schl" not in shown
