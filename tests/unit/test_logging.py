"""What a process writes to its log, seen from outside: each test runs one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SETUP = """
import logging
import structlog
from config.logging import configure_logging
from config.settings import load_settings

early = structlog.get_logger("tasks")
configure_logging(load_settings(_env_file=None))
log = structlog.get_logger("tasks")


def fails(password):
    raise ValueError("it failed")
"""


def output_of(script: str, **variables: str) -> tuple[str, str]:
    """What a process that runs the script writes to its standard output and error."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout, done.stderr


def lines_of(script: str, **variables: str) -> list[dict[str, Any]]:
    """The JSON lines that a process writes to standard error; nothing else may be there."""
    stdout, stderr = output_of(script, **variables)
    assert stdout == ""
    return [json.loads(line) for line in stderr.splitlines()]


def test_not_at_a_terminal_each_event_is_a_line_of_json() -> None:
    [line] = lines_of('log.info("attempt", job="j1", ms=12, note="a\\nb")')
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    assert line == {"event": "attempt", "level": "info", "job": "j1", "ms": 12, "note": "a\nb"}


def test_white_space_around_a_setting_is_told_without_its_value() -> None:
    [line] = lines_of("", COMETCHAT_KEY="hunter2\n", LOG_FORMAT="json")
    assert line["level"] == "warning"
    assert line["event"].startswith("COMETCHAT_KEY: white space around its value is left out")
    assert "hunter2" not in str(line)


def test_libraries_speak_in_the_same_form() -> None:
    [line] = lines_of('logging.getLogger("celery.worker").warning("%s of %d\\nlost", "one", 2)')
    assert (line["event"], line["level"]) == ("one of 2\nlost", "warning")
    assert "timestamp" in line


@pytest.mark.parametrize(
    "say",
    [
        'logging.getLogger("celery").exception("it broke")',
        'logging.getLogger("celery").error("it broke", exc_info=True)',
        'log.exception("it broke")',
        'log.error("it broke", exc_info=error)',
    ],
)
def test_an_exception_is_one_line_without_local_variables(say: str) -> None:
    script = f"""
try:
    fails("hunter" + str(2))
except ValueError as error:
    {say}
"""
    [line] = lines_of(script)
    assert (line["event"], line["level"]) == ("it broke", "error")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: it failed")
    assert "hunter2" not in json.dumps(line)


def test_at_a_console_an_exception_shows_no_local_variables() -> None:
    script = """
try:
    fails("hunter" + str(2))
except ValueError:
    log.exception("it broke")
    logging.getLogger("celery").exception("it broke too")
"""
    _, shown = output_of(script, LOG_FORMAT="console")
    assert shown.count("ValueError: it failed") == 2
    assert "hunter2" not in shown


def test_what_is_no_json_does_no_harm() -> None:
    [line] = lines_of('log.info("attempt", what={1, 2}, bytes=b"x")')
    assert line["event"] == "attempt"


def test_the_console_format_is_for_people() -> None:
    _, shown = output_of('log.info("attempt", job="j1")', LOG_FORMAT="console")
    assert "attempt" in shown
    assert "j1" in shown
    with pytest.raises(json.JSONDecodeError):
        json.loads(shown)


@pytest.mark.parametrize(("log_format", "as_json"), [("auto", False), ("json", True)])
def test_at_a_terminal_it_is_the_console_format_unless_told(log_format: str, as_json: bool) -> None:
    ours, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", SETUP + 'log.info("attempt", job="j1")'],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LOG_FORMAT": log_format},
            stderr=terminal,
            timeout=30,
            check=True,
        )
        assert select.select([ours], [], [], 5)[0], "nothing was written"
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(terminal)
        os.close(ours)
    assert "attempt" in shown
    assert shown.startswith("{") is as_json


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
        ("critical", []),
    ],
)
def test_less_than_the_level_is_not_heard(level: str, heard: list[str]) -> None:
    script = """
for speaker in (log, early, logging.getLogger("celery")):
    for level in ("debug", "info", "warning", "error"):
        getattr(speaker, level)("said")
"""
    assert [line["level"] for line in lines_of(script, LOG_LEVEL=level)] == heard * 3


def test_libraries_that_would_show_headers_stay_quiet_at_debug_level() -> None:
    script = """
for name in ("urllib3.connectionpool", "kombu.transport", "redis", "celery.worker.strategy"):
    logging.getLogger(name).debug("key: hunter2")
    logging.getLogger(name).warning("heard")
"""
    assert [line["event"] for line in lines_of(script, LOG_LEVEL="debug")] == ["heard"] * 4


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_command_that_redis_does_not_know_is_shown_without_its_password(form: str) -> None:
    """As servers of all ages tell of it: HELLO comes with the password."""
    script = """
said = "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `s3\\"cret`, "
logging.getLogger("celery").error("Cannot connect to %s: %s.", "redis://a", said)
log.warning("dispatcher waits", problem="ResponseError: " + said.replace("`", "'"))
try:
    raise ValueError(said)
except ValueError:
    log.exception("it failed")
"""
    _, stderr = output_of(script, LOG_FORMAT=form)
    assert "cret" not in stderr
    assert "AUTH" not in stderr
    assert stderr.count("HELLO") == 3


KEY, LOGIN = "key-4711/+canary", "redis-canary#1"
KNOWN = {"COMETCHAT_KEY": KEY, "REDIS_URL": f"redis://:{LOGIN.replace('#', '%23')}@127.0.0.1:1/0"}

#: Says them as careless code and talkative libraries would.
LEAKS = f"""
import base64, http.client, json
from urllib.parse import quote
from pydantic import SecretStr
from config.secrets import known_secrets

key, login, password = {KEY!r}, {LOGIN!r}, "OpenedPassword1"
known_secrets.opened(SecretStr(password))
basic = base64.b64encode(f"chat:{{password}}".encode()).decode()


class Strange:
    def __repr__(self):
        return f"<connection of {{login}}>"


log.info("attempt", headers={{"key": key, "Authorization": "Basic " + basic}}, what=Strange())
log.info(f"?k={{quote(key, '')}}", hexed=key.encode().hex(), data=password.encode(), pair=(key,))
for name in ("urllib3.connectionpool", "kombu.connection", "redis.asyncio", "celery.worker", "x"):
    logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger(name).debug("send: %r to redis://:%s@host", {{"secret": key}}, login)
try:
    raise ValueError(json.dumps({{"p": password, "k": [key]}}))
except ValueError as error:
    log.exception("it broke")
    logging.getLogger("celery").error("it broke: %r", error, exc_info=True)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_known_secret_is_taken_out_of_each_line(form: str) -> None:
    _, stderr = output_of(LEAKS, **KNOWN, LOG_LEVEL="debug", LOG_FORMAT=form)
    assert stderr.count("[redacted]") >= 20
    for told in ("canary", "63616e617279", "OpenedPassword1", "PcGVuZWRQYXNzd29yZDE"):
        assert told not in stderr
    if form == "json":
        lines = [json.loads(line) for line in stderr.splitlines()]
        assert len(lines) == 9
        assert lines[0]["headers"]["key"] == "[redacted]"
        assert lines[0]["what"] == "<connection of [redacted]>"
        assert {line["level"] for line in lines} == {"info", "debug", "error"}


def test_a_secret_that_nobody_knows_of_is_seen() -> None:
    """The negative control: what is taken out is what the settings and `opened` told."""
    _, stderr = output_of(LEAKS.replace("known_secrets.opened", "str"), LOG_LEVEL="debug")
    for told in ("canary", "63616e617279", "OpenedPassword1", "PcGVuZWRQYXNzd29yZDE"):
        assert told in stderr


def test_a_line_that_cannot_be_searched_is_a_bare_one() -> None:
    script = """
class Strange:
    def __repr__(self):
        raise RuntimeError("key-4711/+canary")


log.warning("attempt", what=Strange(), job="key-4711/+canary")
log.warning("x" * 2_000_000 + "key-4711/+canary")
"""
    for line, kind in zip(lines_of(script, **KNOWN), ("RuntimeError", "Unsearchable"), strict=True):
        assert set(line) == {"event", "level", "timestamp"}
        assert line["event"] == f"a line that could not be searched for secrets ({kind})"
        assert line["level"] == "warning"


def test_a_terminal_obeys_nothing_of_what_is_logged() -> None:
    script = r'log.info("attempt", app="a\x1b[2J\u202eb\x07\ud800", job="1\n2", note="a\r{b}")'
    _, stderr = output_of(script, LOG_FORMAT="console")
    assert r"a\x1b[2J\u202eb\x07\ud800" in stderr
    # Its own colours apart, and one line.
    assert not set(re.sub(r"\x1b\[[0-9;]*m", "", stderr)) & set("\x1b\x07\r\u202e")
    assert stderr.count("\n") == 1


def test_a_line_that_cannot_be_written_ends_nothing() -> None:
    """A disk is full, or who collects the log is gone."""
    script = """
sys.stderr = open("/dev/full", "w")
configure_logging(load_settings(_env_file=None))
structlog.get_logger("tasks").info("attempt")
logging.getLogger("tasks").error("attempt")
print("goes on", flush=True)
os._exit(0)
"""
    assert output_of(f"import logging, os, sys{script}") == ("goes on\n", "")
