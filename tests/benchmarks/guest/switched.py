"""Loaded into a worker (`-I`): the gate is out of it in every second period of the clock.

Out of it means that nothing is asked, read or told: the steps have `no_gate.lua` in the place of
`gate.lua` and `breaker.lua`. A call that was let through in one period and answered in the next one
tells nothing.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tasks import steps
from tasks.gate import Told
from tasks.steps import Steps
from tasks.turn import Turn

#: Seconds of a period.
PERIOD = 4.0

_run = Steps.run


def is_out() -> bool:
    """Whether the gate is out at this instant."""
    return int(time.time() / PERIOD) % 2 == 1


def steps_without_gate() -> Steps:
    """All steps, without the gate."""
    with tempfile.TemporaryDirectory() as folder:
        lua = shutil.copytree(steps.LUA, Path(folder) / "lua")
        shutil.copy(Path(__file__).with_name("no_gate.lua"), lua / "gate.lua")
        (lua / "breaker.lua").write_text("")
        with patch.object(steps, "LUA", lua):
            return Steps()


def _unless_out(method: Any, instead: Any) -> Any:
    @wraps(method)
    def either(*args: Any, **options: Any) -> Any:
        return instead if is_out() else method(*args, **options)

    return either


def switch() -> None:
    """Let it be so in this process."""
    without = steps_without_gate()

    def run_either(self: Steps, client: Any, name: str, arguments: Mapping[str, Any]) -> Any:
        return _run(without if is_out() else self, client, name, arguments)

    Steps.run = run_either  # type: ignore[method-assign]
    for name, instead in {
        "before_call": None,
        "before_bytes": None,
        "after_call": None,
        "told": Told(),
    }.items():
        setattr(Turn, name, _unless_out(getattr(Turn, name), instead))
