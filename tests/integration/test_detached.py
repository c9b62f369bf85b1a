"""A worker in the background, and its log in a file, as Celery's manual has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.integration.commands import REPOSITORY
from worker.stack import Stack

START = ("-A", "worker", "worker", "--without-mingle", "-n", "other@stack")


def celery(stack: Stack, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        cwd=REPOSITORY,
        env={**stack.env, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For a worker's files; one that runs in the background is ended."""
    yield tmp_path
    for pidfile in tmp_path.glob("*.pid"):
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def ready(log: Path) -> bool:
    return log.exists() and " ready." in log.read_text()


def test_celery_multi_starts_and_stops_a_worker_whose_log_is_in_its_file(
    stack: Stack, folder: Path
) -> None:
    files = (f"--logfile={folder}/%n%I.log", f"--pidfile={folder}/%n.pid")
    started = celery(stack, "multi", "start", "w1", "-A", "worker", "-l", "debug", *files)
    assert started.returncode == 0, started.stdout
    log = folder / "w1.log"
    eventually(lambda: ready(log), 30)
    assert "debug" in {json.loads(line)["level"] for line in log.read_text().splitlines()}
    stopped = celery(stack, "multi", "stopwait", "w1", *files)
    assert stopped.returncode == 0, stopped.stdout
    assert not [*folder.glob("*.pid")]


def test_the_file_is_the_one_place_of_the_log(stack: Stack, folder: Path) -> None:
    log = folder / "front.log"
    part = stack.start_worker("front", "-f", str(folder / "%n.log"), LOG_FORMAT="console")
    try:
        eventually(lambda: ready(log), 30)
        assert " ready." not in part.output()
        assert "\x1b[" not in log.read_text()
    finally:
        assert part.stop() == 0


@pytest.mark.parametrize(
    ("options", "env", "words"),
    [
        (("-D",), {"COMETCHAT_KEY": ""}, "COMETCHAT_KEY: is missing"),
        (("-D", "--autoscale=10,2"), {}, "--autoscale does not fit"),
        ((), {"COMETCHAT_KEY": ""}, "COMETCHAT_KEY: is missing"),
    ],
    ids=["detached without a key", "detached with what does not fit", "without a key"],
)
def test_what_is_wrong_is_said_and_ends_with_2(
    stack: Stack, folder: Path, options: tuple[str, ...], env: dict[str, str], words: str
) -> None:
    log = folder / "other.log"
    done = celery(stack, *START, *options, "-f", str(log), **env)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert words in done.stderr
    assert not log.exists()  # it is said before there is a log


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_log_file_that_cannot_be_written_is_refused(stack: Stack, command: str) -> None:
    done = celery(stack, "-A", "worker", command, "-f", "/nowhere/at/all.log")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "--logfile /nowhere/at/all.log cannot be written: there is no folder" in done.stderr
