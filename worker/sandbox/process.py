"""Starts the sandbox as a process of its own, for tests and the demo."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.sandbox.control import SandboxControl

#: Seconds within which the process must listen.
START_TIMEOUT: Final = 20.0
#: Seconds within which it must end after SIGTERM; it needs a few hundredths.
STOP_TIMEOUT: Final = 5.0

_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that accepts calls at `base_url`, its process and a client of its control calls."""

    base_url: str
    process: subprocess.Popen[str]
    control: SandboxControl


@contextmanager
def running_sandbox(
    *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningSandbox]:
    """Run `python -m worker.sandbox` on a free port of loopback until the block is left.

    Args:
        options: of the command, such as `"--faults", "mixed:0.2"`.
        environment: variables besides those of this process; credentials belong here, as
            SANDBOX_KEY and SANDBOX_SECRET.

    Raises:
        RuntimeError: the process ended, or did not listen in time; stderr says why.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.sandbox", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        base_url = _listening(process)
        with SandboxControl(base_url) as control:
            yield RunningSandbox(base_url, process, control)
    finally:
        _stop(process)


def _listening(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
    line = process.stdout.readline() if ready else ""
    if not line.startswith("sandbox listening on "):
        raise RuntimeError("The sandbox did not start.")
    return line.split()[-1]


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
