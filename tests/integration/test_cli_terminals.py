"""Terminals and pipes that cannot show each character: no command minds."""

from __future__ import annotations

import io
import runpy
import subprocess
import sys
from typing import Final

import pytest
import redis

from tasks import enqueue_webhook
from tasks.cli import cli
from tasks.record import job_id
from tasks.store import get_store
from tests.conftest import use_environment
from tests.integration.commands import REPOSITORY, at_terminal, command, environment_fixture, fail

environment = environment_fixture

NAME: Final = "Orders → EU 🚚 für Łódź"
WEBHOOK: Final = {"name": NAME, "webhookURL": "https://x.example/orders"}
JOB: Final = job_id("default", "shop", "orders")
ASKED: Final = ("--app-id", "shop", "--id", "other", "--name", NAME, "--url", "https://x.example")
#: Bytes of an argument that are no text; Python has them as lone surrogates.
NO_TEXT: Final = "b\udcfcd"

#: Each command, some with what they do not take; some of a name are said by standard error.
COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("tasks", "status", JOB), ("tasks", "status", JOB, "--json"), ("tasks", "status", NAME),
    ("tasks", "status", NO_TEXT), ("tasks", "status", NO_TEXT, "--json"),
    ("tasks", "list", "--app-id", NO_TEXT), ("tasks", "cancel", NO_TEXT),
    ("tasks", "retry", "--failed", "--error", NO_TEXT), ("tasks", "forget", NO_TEXT),
    ("tasks", "gate", "pause", "--reason", NO_TEXT), ("tasks", "gate", "--account", NO_TEXT),
    ("tasks", "list"), ("tasks", "list", "--json"), ("tasks", "list", NAME),
    ("tasks", "enqueue", *ASKED), ("tasks", "enqueue", *ASKED, "--trigger", NO_TEXT),
    ("tasks", "enqueue", "--app-id", NAME, "--json"), ("tasks", NO_TEXT),
    ("tasks", "update", "--app-id", "shop", "--id", "other", "--name", NAME[::-1]),
    ("tasks", "delete", "--app-id", "shop", "--id", NO_TEXT),
    ("tasks", "set-triggers", "--app-id", "shop", "--id", "other", NAME),
    ("tasks", "import", NO_TEXT), ("tasks", "import", NO_TEXT, "--json"),
    ("tasks", "gate", "pause", "--reason", NAME), ("tasks", "gate"), ("tasks", "gate", "--json"),
    ("tasks", "gate", "resume"), ("tasks", "retry", "--failed", "--app-id", "shop"),
    ("tasks", "check"), ("tasks", "reseal"), ("tasks", "audit"), ("tasks", "audit", "--json"),
    ("tasks", "cancel", JOB), ("tasks", "retry", JOB), ("tasks", "cancel", JOB),
    ("tasks", "forget", JOB), ("tasks", "forget", NAME, "--json"), ("tasks", "--help"),
    ("worker", "check"), ("worker", NAME), ("worker", "acl", f"{NO_TEXT}/x"), ("worker", "--help"),
)  # fmt: skip

#: Encodings of streams, and what they do with characters that they lack.
STREAMS: Final = [
    *(("ascii", "strict"), ("ascii", "surrogateescape"), ("iso-8859-1", "strict")),
    *(("cp437", "strict"), ("utf-8", "strict")),
]


@pytest.fixture
def shop(environment: dict[str, str]) -> dict[str, str]:
    """A Redis with a webhook that failed, of a name and with words of many characters."""
    with redis.Redis.from_url(environment["REDIS_URL"]) as server:
        server.flushdb()
    use_environment(environment)
    enqueue_webhook("shop", {"id": "orders", **WEBHOOK})
    fail(get_store(), JOB, message=f"Not {NAME}.")
    return {**environment, "COMETCHAT_BASE_URL": "http://127.0.0.1:9"}


def fitting(encoding: str) -> str:
    """The name, as far as an encoding has its characters."""
    return NAME.encode(encoding, errors="backslashreplace").decode(encoding)


@pytest.mark.parametrize(("encoding", "errors"), STREAMS)
def test_every_command_shows_what_it_can(
    shop: dict[str, str], monkeypatch: pytest.MonkeyPatch, encoding: str, errors: str
) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    for name, stream in ("stdout", out), ("stderr", err):
        wrapper = io.TextIOWrapper(stream, encoding, errors, write_through=True)
        monkeypatch.setattr(sys, name, wrapper)
    for words in COMMANDS:
        monkeypatch.setattr(sys, "argv", list(words))
        with pytest.raises(SystemExit):
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    monkeypatch.undo()
    for stream in out, err:
        text = stream.getvalue().decode(encoding)  # nothing that it is not of
        assert fitting(encoding) in text
        assert "Traceback" not in text


def test_so_does_a_process(shop: dict[str, str]) -> None:
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        command("status", JOB),
        cwd=REPOSITORY,
        env={**shop, **variables},
        capture_output=True,
        timeout=60,
    )
    assert fitting("ascii") in done.stdout.decode("ascii")
    assert done.stderr == b""


def test_every_command_is_among_them() -> None:
    assert {words[1] for words in COMMANDS if words[0] == "tasks"} >= set(cli.commands)


def test_a_terminal_shows_what_it_can(shop: dict[str, str]) -> None:
    shown = at_terminal("status", JOB, env={**shop, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"})
    assert fitting("ascii") in shown


def test_an_output_that_is_closed_is_none_to_change(shop: dict[str, str]) -> None:
    words = ["sh", "-c", f'"{sys.executable}" -m tasks status {JOB} >&-']
    done = subprocess.run(words, cwd=REPOSITORY, env=shop, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0
