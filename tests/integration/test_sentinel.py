"""One setting for Redis with Sentinel: all parts find the primary, and the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult
from pydantic import SecretStr
from redbeat import RedBeatSchedulerEntry

from config.celery_app import configuration
from config.settings import load_settings
from tasks import StoreUnavailable
from tasks.jobs import JobStore
from tests.chaos.replication import PASSWORD, SENTINEL_PASSWORD, Group
from tests.conftest import FAST, eventually
from tests.integration.commands import ENQUEUE, REPOSITORY
from worker.stack import HOST, Stack

#: Seconds in which all goes on after a fail-over.
BACK_SECONDS = 15.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A worker and beat on a primary with two replicas and three sentinels."""
    with Stack(**FAST) as stack:
        group = Group(stack.folder)
        stack.redis = group  # type: ignore[assignment]  ended as the stack ends its own
        # In the environment, where Celery would look for the last two, and not know this form.
        for name in ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
            stack.env[name] = group.url
        stack.start_sandbox()
        beat = stack.celery("beat", "beat")
        worker = stack.start_worker()
        worker.wait_for_line(" ready.")
        beat.wait_for_line("Acquired lock")
        yield stack


@pytest.fixture
def group(stack: Stack) -> Group:
    assert isinstance(stack.redis, Group)
    return stack.redis


@pytest.fixture
def app(group: Group) -> Celery:
    """What another process of Celery's would have of the one setting."""
    app = Celery(set_as_current=False)
    app.conf.update(configuration(load_settings(_env_file=None, redis_url=SecretStr(group.url))))
    return app


def store_at(url: str) -> JobStore:
    return JobStore(SecretStr(url), pipe_size=8, result_ttl=60, patience=0.1)


def run(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """A command of the stack, which never says a password."""
    done = subprocess.run(
        [sys.executable, "-m", *args],
        cwd=REPOSITORY,
        env={**os.environ, **stack.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert_untold(done.stdout + done.stderr)
    return done


def python(stack: Stack, *args: str) -> str:
    """What a command of the stack says."""
    done = run(stack, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_untold(text: str) -> None:
    for secret in (PASSWORD, SENTINEL_PASSWORD, PASSWORD[:5], SENTINEL_PASSWORD[:6]):
        assert secret not in text


def run_a_job(stack: Stack, app: Celery, name: str) -> float:
    """A job runs, and the result backend knows; when it had ended, in unix seconds."""
    # There may be a second fail-over: what no replica has would go with it.
    args = ("--app-id", name, "--durability", "replicas", "--wait", "30", "--json")
    job = json.loads(eventually(lambda: confirmed(stack, *ENQUEUE, *args), BACK_SECONDS))
    assert job["state"] == "SUCCESS"
    # A result that met the fail-over is told again by whoever next looks for such.
    eventually(lambda: AsyncResult(job["id"], app=app).state == "SUCCESS", 2 * BACK_SECONDS)
    return datetime.fromisoformat(job["ended_at"]).timestamp()


def confirmed(stack: Stack, *args: str) -> str:
    """What the command says of a job that a replica has; '' if it says to repeat it."""
    done = run(stack, "tasks", *args)
    if done.returncode == 3 and json.loads(done.stderr)["recorded"]:
        return ""
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_beats_task(stack: Stack, app: Celery, name: str) -> float:
    """Beat sends what is due, and the worker runs it; when that was, in unix seconds."""
    entry: Any = RedBeatSchedulerEntry.from_key(f"webhooks:beat:{name}", app=app)
    entry.reschedule(datetime(2020, 1, 1, tzinfo=UTC))
    [worker] = [part for part in stack.parts if part.name == "worker"]
    eventually(lambda: f'"event": "{name}"' in worker.output(), BACK_SECONDS)
    lines = [line for line in worker.output().splitlines() if f'"event": "{name}"' in line]
    return datetime.fromisoformat(json.loads(lines[-1])["timestamp"]).timestamp()


def test_the_check_shows_where_the_primary_is(stack: Stack, group: Group) -> None:
    primary = group.primary()
    assert primary is not None
    shown = python(stack, "worker", "check")
    assert f"ok      Redis: reachable, the primary is {HOST}:{primary.port}, version" in shown


def test_all_parts_go_on_with_another_primary(stack: Stack, group: Group, app: Celery) -> None:
    run_a_job(stack, app, "before")
    run_beats_task(stack, app, "retry_failed")
    old = group.fail(signal.SIGKILL)
    failed = time.time()
    eventually(lambda: group.primary() not in {None, old}, BACK_SECONDS)
    eventually(lambda: group.replicas() == 1, BACK_SECONDS)
    assert run_a_job(stack, app, "after") - failed < BACK_SECONDS
    assert run_beats_task(stack, app, "prune") - failed < BACK_SECONDS
    for part in stack.parts:
        assert part.process.poll() is None
        assert_untold(part.output())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            f"redis+sentinel://{HOST}:1,{HOST}:2/jobs",
            "no sentinel knows of a primary; asked, they gave ConnectionError",
        ),
        ("redis+sentinel://{hosts}/others?sentinel_password={right}", "asked, they gave none"),
        ("redis+sentinel://{hosts}/jobs?sentinel_password=wrong-one", "AuthenticationError"),
        (
            "redis+sentinel://:wrong-one@{hosts}/jobs?sentinel_password={right}",
            "AuthenticationError: invalid",
        ),
    ],
)
def test_what_is_wrong_is_told_at_once(group: Group, url: str, words: str) -> None:
    hosts = ",".join(f"{HOST}:{node.port}" for node in group.sentinels)
    store = store_at(url.format(hosts=hosts, right=group.url.rpartition("=")[2]))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as error:
        store.counts()
    assert time.monotonic() - began < 5
    assert words in str(error.value)
    assert_untold(str(error.value))
    assert "wrong-one" not in str(error.value) and len(str(error.value)) < 300
