"""Secrets that occur nowhere else, all of the program at debug level, and a search of each place.

Then a leak is planted in each place, which the same search must find.
"""

from __future__ import annotations

import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sentry_sdk

import tasks.errors
from config.celery_app import app
from tasks import Job
from tasks.cli import cli
from tasks.errors import ApiFailure
from tests import faulty
from tests.conftest import FAST, SentrySink, eventually, use_environment
from tests.integration.canaries import Canaries
from tests.integration.house import COMMANDS, House
from tests.integration.test_beat import make_due
from worker.stack import GUARDED, Stack

TALKATIVE = {
    "LOG_LEVEL": "debug",
    "KOMBU_LOG_CONNECTION": "1",
    "KOMBU_LOG_CHANNEL": "1",
    "PYTHONFAULTHANDLER": "1",
    "GATE_PROBE_SECONDS": "1",  # some of the faults are refusals, which close it for all
}

#: Every class of failure that a job can have; the account's own are the history's.
CLASSES = {
    name
    for name, one in vars(tasks.errors).items()
    if isinstance(one, type) and issubclass(one, ApiFailure) and one is not ApiFailure
}

#: What is said of settings that are refused.
WRONG = {
    "REDIS_URL": "REDIS_URL: must start with redis://",
    "SEALING_PRIVATE_KEYS": "SEALING_PRIVATE_KEYS: key 1 is cut",
    "COMETCHAT_SECRET": "COMETCHAT_SECRET: must be printable ASCII",
    "COMETCHAT_ACCOUNTS": "COMETCHAT_ACCOUNTS: is no JSON object",
}

#: Where a fault is told as one of the program; other places' are outcomes of a call.
SEEN_BY_SENTRY = ("tasks.passwords:open_password", "tasks.wire:json_of", "tasks.answers:redact")


@pytest.fixture
def house() -> Iterator[House]:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    canaries, sentry = Canaries(), SentrySink()
    settings = {
        "COMETCHAT_KEY": canaries["key"],
        "COMETCHAT_SECRET": canaries["secret"],
        "COMETCHAT_OLD_KEY": canaries["old key"],
        "COMETCHAT_OLD_SECRET": canaries["old secret"],
        "SANDBOX_KEY": canaries["key"],
        "SANDBOX_SECRET": canaries["secret"],
        "SEALING_PUBLIC_KEY": canaries.public_key,
        "SEALING_PRIVATE_KEYS": canaries["private sealing key"],
        "FLOWER_BASIC_AUTH": ":".join(("alice", canaries["Flower's login"])),
        "FLOWER_COOKIE_SECRET": canaries["Flower's cookie secret"],
        "SENTRY_DSN": sentry.dsn,
        GUARDED: "1",
    }
    with Stack(**{**FAST, **TALKATIVE, **settings}) as stack:
        yield House(stack, sentry, canaries)
    sentry.server.shutdown()


def outcomes(jobs: list[Job]) -> set[str]:
    """The classes in which they failed, at last or on the way."""
    seen = [job.refresh() for job in jobs]
    ended = {job.error["class"] for job in seen if job.error}
    return ended | {entry["outcome"] for job in seen for entry in job.history}


def leaks(house: House) -> dict[str, Callable[[str], object]]:
    """What lets a secret get to each place, for that place alone or for what is behind it."""
    admin, folder = house.places.admin, house.stack.folder
    show = "import os, sys; print(os.environ['LEAK'])"

    def event(secret: str) -> None:
        use_environment({**house.stack.env, "REDIS_URL": house.server.url_for("worker")})
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("task-received", uuid=secret, name=secret, args=secret)

    def page(secret: str) -> bool:
        event(secret)
        house.places.fetch_pages(house.flower_url, ("/api/tasks", "/metrics"), house.login)
        return bool(house.canaries.seen_in(house.places.pages.values()))

    def sentry(secret: str) -> None:
        client = sentry_sdk.Client(dsn=house.sentry.dsn)
        with sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            scope.capture_message(secret)
        client.close(timeout=10)

    def command_line(secret: str) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", secret], stdin=subprocess.PIPE
        ) as process:
            # A command line is empty for a moment after its process has begun.
            eventually(lambda: secret in Path(f"/proc/{process.pid}/cmdline").read_text())
            house.places.processes.look()
            process.kill()

    return {
        "Redis's keys": lambda secret: house.places.database(3).set("x", secret),
        "results": lambda secret: admin.set("celery-task-meta-x", f'{{"result": "{secret}"}}'),
        "commands to Redis": lambda secret: admin.exists(secret),
        "the append-only file": lambda secret: admin.set("x", secret) and admin.delete("x"),
        "output and logs": lambda secret: house.said_by("leak", "", "-c", show, LEAK=secret),
        "Celery's events": event,
        "Sentry": sentry,
        "Flower's pages": lambda secret: eventually(lambda: page(secret)),
        "metrics": lambda secret: eventually(lambda: page(secret)),
        "command lines": command_line,
        "files": lambda secret: (folder / "left-behind").write_text(secret),
    }


def test_no_secret_gets_anywhere(house: House) -> None:
    use_environment(house.stack.env)
    house.jobs.append(house.enqueue("late", expires_in=0.1))
    threads = house.worker("threads", WEBHOOK_URL_ALLOW="example.com")
    house.start_others()
    house.meet_each_failure()
    house.meet_each_echo()
    house.meet_each_failure_of_another()
    house.crash_in("threads", faulty.OF_JOBS)
    house.be_refused()
    seen = outcomes(house.jobs)
    commands, crashed = house.run_commands(), house.run_processes()
    said = dict(house.wrong_settings())
    use_environment({**house.stack.env, "REDIS_URL": house.server.url_for("admin")})
    make_due("retry_failed", house.server.url_for("admin"))
    eventually(lambda: '"event": "retry_failed"' in threads.output(), 20)
    use_environment(house.stack.env)
    assert [threads.stop(), house.beat.stop()] == [0, 0]
    console = house.worker("console", LOG_FORMAT="console")
    house.crash_in("console", faulty.OF_JOBS[::3])
    console.signal(signal.SIGABRT)
    console.process.wait(20)
    house.fetch_pages()
    # Its words are those of the account's refusal, of a job that is refused alone.
    assert seen >= CLASSES - {"CallRefused"}
    assert commands.count("$") == len(COMMANDS) and "Traceback" not in commands
    assert {command[1] for command in COMMANDS if command[0] == "tasks"} == set(cli.commands)
    assert crashed.count("tests.faulty.Fault: in ") == len(faulty.OF_ENQUEUEING)
    assert all(words in said[name] for name, words in WRONG.items())
    assert "Fatal Python error: Aborted" in console.output()
    for place in SEEN_BY_SENTRY:
        assert f"in {place}".encode() in b"".join(house.sentry.raw)
    assert {place: found for place, found in house.found().items() if found} == {}

    for place, leak in leaks(house).items():
        secret = secrets.token_hex(12)
        house.canaries.values = {"planted": secret}
        leak(secret)
        read = house.places.by_name()[place]
        eventually(lambda read=read: house.canaries.seen_in(read()), what=f"seen in {place}")
