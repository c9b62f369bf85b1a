"""What is wrong is said at the start: by each process, in one message, and then it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.commands import NOWHERE, REPOSITORY, Said
from worker.stack import Stack

#: Each kind of process, as it is started.
PROCESSES = {
    "worker": ("celery", "-A", "worker", "worker", "--without-mingle", "-c", "2"),
    "beat": ("celery", "-A", "worker", "beat"),
    "flower": ("celery", "-A", "worker", "flower", "--address=127.0.0.1", "--port=0"),
    "check": ("worker", "check"),
    "tasks": ("tasks", "gate"),
}


def start(*command: str, env: Mapping[str, str]) -> Said:
    """Runs a process that is to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def start_all(env: Mapping[str, str], *names: str) -> dict[str, Said]:
    names = names or tuple(PROCESSES)
    with ThreadPoolExecutor(2) as threads:
        said = threads.map(lambda name: start(*PROCESSES[name], env=env), names)
        return dict(zip(names, said, strict=True))


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    with Stack() as stack:
        return {**stack.env, "REDIS_URL": NOWHERE}


def test_all_that_is_wrong_is_in_one_message_of_each_process(env: dict[str, str]) -> None:
    wrong = {
        "SENTRY_DSN": "https://hunter2@sentry.example",
        "COMETCHAT_KEY": "hunter2\u200b",
        "REDIS_URL": "redis://:p@hunter2/w@host:6379/0",
        "RESULT_TTL": "99999999999999999999",
    }
    for name, said in start_all({**env, **wrong}).items():
        shown = said.out + said.err
        assert said.code == (1 if name == "check" else 2), shown
        assert [one for one in wrong if f"{one}: " in shown] == [*wrong], name
        assert "hunter2" not in shown and "Traceback" not in shown
        assert len(shown.splitlines()) <= 5


#: A fault of ours in what Celery calls when a worker starts; it would go on without the rest.
FAULTS = {
    "the log": "import config.logging as at; name = 'configure_logging'",
    "memory": "import worker.memory as at; name = 'bound_arenas'",
    "sentry": "import worker.sentry as at; name = 'start_sentry'",
}
RUN = """
import sys
{fault}

def fails(*_, **__):
    raise RuntimeError("hunter2hunter2")

setattr(at, name, fails)
from celery.__main__ import main
sys.argv = ["celery", "-A", "worker", "worker", "--without-mingle", "-c", "2"]
main()
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_what_celery_calls_at_the_start_ends_it(env: dict[str, str], fault: str) -> None:
    secret = {"COMETCHAT_KEY": "hunter2hunter2", "SENTRY_DSN": "http://public@127.0.0.1:1/1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(fault=FAULTS[fault])],
        cwd=REPOSITORY,
        env={**env, **secret, "PYTHONPATH": os.fspath(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "The start failed in " in done.stderr and ": RuntimeError" in done.stderr
    assert " ready." not in done.stderr
    assert "hunter2" not in done.stderr
    if fault != "the log":
        assert '"level": "critical"' in done.stderr
