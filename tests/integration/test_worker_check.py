"""`python -m worker check`: findings, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tasks.slots import OF_A_WORKER
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


def test_the_steps_of_other_versions_are_named(stack: Stack, sandbox: SandboxControl) -> None:
    call = "redis.register_function{function_name='webhooks_0_old_x', callback=function() end}"
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        client.function_load(f"#!lua name=webhooks_0_old\n{call}")
        try:
            code, shown = check(stack)
        finally:
            client.function_delete("webhooks_0_old")
    assert code == 0
    assert "steps: of other versions: webhooks_0_old." in " ".join(shown.split())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COMETCHAT_KEY", "schlüssel", "settings: COMETCHAT_KEY: must be printable ASCII"),
        ("COMETCHAT_SECRET", "geheim\u200bnis", "COMETCHAT_SECRET: must be printable ASCII"),
        ("SENTRY_DSN", "geheimnis", "settings: SENTRY_DSN: must be as Sentry shows it"),
        ("REDIS_URL", "redis://:geheim@host/0?foo=bar", "REDIS_URL: must have no options"),
        ("CELERY_BROKER_READ_URL", NOWHERE, "settings: CELERY_BROKER_READ_URL: is read by"),
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


@pytest.mark.parametrize(
    ("maxclients", "code", "words"),
    [
        (20, 1, "error   maxclients: "),
        (OF_A_WORKER + 1, 0, "warning maxclients: "),
        (1000, 0, "ok      maxclients: "),
    ],
    ids=["less than a worker takes", "taken", "enough"],
)
def test_the_room_for_connections_is_compared(
    redis_server: str, stack: Stack, maxclients: int, code: int, words: str
) -> None:
    with redis.Redis.from_url(redis_server) as server:
        before = server.config_get("maxclients")
        server.config_set("maxclients", maxclients)
        try:
            others = [redis.Redis.from_url(redis_server) for _ in range(3)]
            for one in others:
                one.ping()
            found, shown = check(stack, REDIS_URL=redis_server)
        finally:
            server.config_set("maxclients", before["maxclients"])
            for one in others:
                one.close()
    assert (found, words in shown) == (code, True), shown
    assert f"a worker takes up to {OF_A_WORKER}" in shown


def test_a_secret_that_is_too_short_is_warned_of(stack: Stack, sandbox: SandboxControl) -> None:
    _, shown = check(stack, COMETCHAT_OLD_KEY="abcde", COMETCHAT_OLD_SECRET="long-enough")
    assert "warning COMETCHAT_OLD_KEY: has fewer than 6 characters" in shown
    assert "abcde" not in shown and shown.count("warning") == 1


def test_white_space_that_is_left_out_is_warned_of(stack: Stack, sandbox: SandboxControl) -> None:
    code, shown = check(stack, COMETCHAT_KEY=stack.env["COMETCHAT_KEY"] + "\n")
    assert code == 0
    assert "warning COMETCHAT_KEY: white space around its value" in shown
    assert "answers and accepts the key" in shown


def test_each_setting_that_is_none_is_a_finding(stack: Stack) -> None:
    code, shown = check(
        stack, REDIS_URL="foo", ENQUEUE_DURABILITY="disk", SEALING_PUBLIC_KEY="short"
    )
    assert code == 1
    lines = shown.splitlines()
    assert len(lines) == 3
    for line, name in zip(
        lines, ("REDIS_URL", "ENQUEUE_DURABILITY", "SEALING_PUBLIC_KEY"), strict=True
    ):
        assert line.startswith(f"error   settings: {name}: ")


PROCFILE = (REPOSITORY / "Procfile").read_text().splitlines()


@pytest.mark.parametrize("line", [line for line in PROCFILE if not line.startswith("#")])
def test_the_procfile_runs_as_it_stands(stack: Stack, line: str) -> None:
    """Its commands as a platform finds them, with nothing on Python's path."""
    command = line.partition(": ")[2].partition("--port")[0]
    env = {name: value for name, value in stack.env.items() if name != "PYTHONPATH"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    if not command.startswith("python"):
        command += " --help"  # for which Celery loads the app, too
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
