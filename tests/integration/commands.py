"""Runs the commands of `python -m tasks`, within this process and as a process."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config.settings import get_settings
from tasks.__main__ import main
from tasks.jobs import JobStore
from tasks.record import JobRecord, job_id
from tasks.sealing import get_sealer
from tests.sealed import new_keys

REPOSITORY = Path(__file__).parents[2]
PASSWORD = "Hunter2Hunter2"
ORDERS = {"id": "orders", "name": "Orders", "webhookURL": "https://x.example/orders"}
ENQUEUE = ("enqueue", "--app-id", "shop", "--id", "orders", "--name", "Orders")
ENQUEUE += ("--url", "https://x.example/orders")
WITH_USER = (*ENQUEUE, "--username", "shop")
ID = job_id("default", "shop", "orders")
NOWHERE = "redis://127.0.0.1:1/0"


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        return str(json.loads(self.err)["error"])


Run = Callable[..., Said]


@pytest.fixture(name="run")
def run_fixture(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs a command within this process; whatever it does, it shows no password."""
    for name, key in new_keys().items():
        monkeypatch.setenv(name, key)
    monkeypatch.setattr("config.logging.configure_logging", lambda _settings: None)

    def run_command(*args: str | Path, stdin: bytes = b"") -> Said:
        for cached in (get_settings, get_sealer):
            cached.cache_clear()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        said = Said(int(ended.value.code or 0), *capsys.readouterr())
        assert PASSWORD not in said.out + said.err
        assert "Traceback" not in said.err
        return said

    yield run_command
    for cached in (get_settings, get_sealer):
        cached.cache_clear()


@pytest.fixture(name="environment")
def environment_fixture(redis_server: str) -> dict[str, str]:
    keys = {"REDIS_URL": redis_server, **new_keys()}
    return {**os.environ, **keys, "COLUMNS": "80"}


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "tasks", *map(str, args)]


def real(*args: str | Path, env: dict[str, str], stdin: bytes = b"") -> Said:
    """Runs the real command."""
    done = subprocess.run(
        command(*args), cwd=REPOSITORY, env=env, input=stdin, capture_output=True, timeout=60
    )
    said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert PASSWORD not in said.out + said.err
    assert "Traceback" not in said.err
    return said


def claimed(store: JobStore, an_id: str = ID) -> JobRecord:
    record = store.claim(an_id, worker="worker@host", token="token")
    assert record is not None
    return record


def fail(
    store: JobStore,
    an_id: str = ID,
    message: str = "The plan does not allow it.",
    failure: str = "PlanLimit",
    code: str | None = None,
) -> None:
    record = claimed(store, an_id)
    error = {"class": failure, "code": code, "status": 402, "message": message}
    entry = {"attempt": 1, "at": record.started_at, "outcome": failure, "ms": 250}
    assert store.finish(record, "FAILURE", error=error, entry={**entry, "message": message})


def succeed(store: JobStore, an_id: str = ID) -> None:
    assert store.finish(claimed(store, an_id), "SUCCESS", result={**ORDERS, "outcome": "created"})


def at_terminal(*args: str, env: dict[str, str], typed: str = "", code: int = 0) -> str:
    """What a command shows at a terminal, where `typed` is typed once it asks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*args),
        cwd=REPOSITORY,
        env={**env, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4_096):
            shown += part
            if typed and shown.endswith(b": "):
                os.write(ours, typed.encode() + b"\n")
                typed = ""
    except OSError:  # Linux's way to say that the other end was closed
        pass
    os.close(ours)
    assert process.wait(timeout=30) == code
    return shown.decode()
