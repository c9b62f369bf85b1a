"""Random interleavings of every step by several clients, held to the promises of the job.

Hypothesis draws the steps (`tests/chaos/rules.py`), a real Redis takes them, `Reference` says what
each must answer and leave, and after every one all of Redis is compared (`Machine.promises`).
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tasks import jobs
from tests.chaos.chains import ChainMachine
from tests.chaos.machine import STEP_LIMIT
from tests.chaos.rules import JobMachine
from worker.stack import RedisServer

#: Steps from an empty Redis on.
STEPS_A_RUN = 60


def run_model(
    steps: int,
    seed_number: int,
    *,
    url: str | None = None,
    model: type[JobMachine] | type[ChainMachine] = JobMachine,
) -> int:
    """Take at least so many random steps; how many there were.

    Args:
        seed_number: the same steps again for the same number.
        model: of a job alone, or of the jobs of one webhook.
        url: a Redis to empty and to use; a server of its own if not given.

    Raises:
        AssertionError: a promise is broken; its notes say by which steps, as few as were found.
    """
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(jobs, "STEP_LIMIT", STEP_LIMIT))
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="model-"))
            server = RedisServer(Path(folder), options=("--appendonly", "no"))
            stack.callback(server.kill)
            url = server.url
        model.url, model.steps = url, 0
        part = 0
        while (left := steps - model.steps) > 0:
            machine = seed(seed_number * 1_000 + part)(model)
            try:
                run_state_machine_as_test(machine, settings=_settings(1 + left // STEPS_A_RUN))
            except Exception as error:
                error.add_note(f"again: run_model({steps}, {seed_number})")
                raise
            part += 1
        return model.steps


def _settings(runs: int) -> settings:
    # A mutant need not be explained.
    shrinks = () if os.environ.get("MODEL_QUICK") else (Phase.shrink,)
    return settings(
        max_examples=runs,
        stateful_step_count=STEPS_A_RUN,
        phases=(Phase.generate, *shrinks),
        deadline=None,
        derandomize=False,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
