"""The settings alone say where Celery's broker and results are, whatever is in the environment."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from config.celery_class import OTHER_SOURCES, App, refuse_other_sources
from config.settings import SettingsError
from worker.stack import ROOT

OURS = {"broker_url": "sentinel://h:26399/0", "result_backend": "redis://results:6379/2"}
#: What Celery would read, and take as it is.
ENVIRONMENT = {
    "CELERY_BROKER_URL": "redis+sentinel://h:26399/mymaster/0",
    "CELERY_RESULT_BACKEND": "redis+sentinel://h:26399/mymaster/0",
    "CELERY_BROKER_READ_URL": "amqp://elsewhere",
    "CELERY_BROKER_WRITE_URL": "amqp://elsewhere",
    "CELERY_CONFIG_MODULE": "no_such_module",
    "CELERY_LOADER": "no_such_module:Loader",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*OTHER_SOURCES, *ENVIRONMENT}:
        monkeypatch.delenv(name, raising=False)


def told(app: App) -> list[Any]:
    conf = app.conf
    connections = app.connection_for_read(), app.connection_for_write()
    return [
        *(conf.broker_url, conf.broker_read_url, conf.broker_write_url, conf.result_backend),
        *(f"{one.transport_cls}://{one.hostname}:{one.port}" for one in connections),
        app.backend.as_uri(include_password=True),
    ]


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_celery_reads_nothing_past_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> App:
        app = App("test", set_as_current=False)
        app.add_defaults(lambda: OURS)
        return app

    before = told(made())
    monkeypatch.setenv(name, ENVIRONMENT[name])
    assert told(made()) == before


def test_celerys_forms_of_our_url_reach_the_broker_that_it_names() -> None:
    """`config.celery_app` in a process of its own, as it reads its environment once."""
    code = (
        "from config.celery_app import app; c = app.connection_for_write();"
        "print(c.transport_cls, c.hostname, c.port, c.virtual_host, app.backend.as_uri())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: ENVIRONMENT[name] for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "sentinel h 26399 0 sentinel://h:26399/0\n", done.stderr


@pytest.mark.parametrize("name", OTHER_SOURCES)
def test_what_celery_alone_would_read_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "redis://:hunter2@elsewhere")
    with pytest.raises(SettingsError) as refused:
        refuse_other_sources()
    [problem] = refused.value.problems
    assert problem.startswith(f"{name}: ") and problem.endswith(
        ("unset it", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
    )


def test_what_is_empty_or_absent_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_other_sources()
    for name in OTHER_SOURCES:
        monkeypatch.setenv(name, "")
    refuse_other_sources()


@pytest.mark.parametrize("command", ["worker", "beat", "flower"])
def test_each_of_celerys_commands_says_all_of_it_in_one_message(command: str) -> None:
    environment = {
        "BROKER_URL": "redis://:hunter2@elsewhere",
        "CELERY_BROKER_READ_URL": "redis://:hunter2@elsewhere",
        "PIPE_SIZE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "hunter2" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 4 and [name for name in environment if name in done.stderr] == [
        *environment
    ]
