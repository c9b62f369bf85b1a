"""Which of Celery's options for a worker are refused, each in a sentence."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import click
import pytest
from celery import Celery
from celery.bin.worker import worker

from config.celery_app import configuration
from config.settings import load_settings
from worker.options import OptionRefused, add_check, check_arguments, chosen_level
from worker.threads import ThreadPool


def refuse(error: Exception) -> NoReturn:
    raise error


class Command:
    """`celery worker`, as Celery makes it for an app, up to where it begins to work."""

    def __init__(self) -> None:
        self.app = Celery("other", set_as_current=False, fixups=[])
        self.app.conf.update(configuration(load_settings(_env_file=None)))
        self.detached = 0
        add_check(self.app, refuse, self._before_detaching)
        self._command = copy.copy(worker)
        self._command.params = [*worker.params, *self.app.user_options["worker"]]

    def _before_detaching(self) -> None:
        self.detached += 1

    def read(self, *arguments: str) -> click.Context:
        obj = SimpleNamespace(app=self.app)
        context: click.Context = self._command.make_context(
            "worker", [*arguments], obj=obj, auto_envvar_prefix="CELERY_WORKER"
        )
        with context:
            check_arguments()
        return context


@pytest.fixture(name="command")
def command_fixture() -> Command:
    return Command()


MORE = "run more workers instead"
ONE_QUEUE = "all jobs come by the queue webhooks"
NO_END = "COMETCHAT_READ_TIMEOUT"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--autoscale=10,2", MORE),
        ("--autoscale 3", MORE),
        ("--max-tasks-per-child 5", MORE),
        ("--max-memory-per-child 5000", MORE),
        ("--pool-start-method spawn", MORE),
        ("--pool prefork", MORE),
        ("--pool=solo", MORE),
        ("-Pprefork", MORE),
        ("-P processes", MORE),
        ("--time-limit 5", NO_END),
        ("--soft-time-limit 5", NO_END),
        ("-B", "run `celery -A worker beat`, once"),
        ("-Q others", ONE_QUEUE),
        ("-Q webhooks,others", ONE_QUEUE),
        ("-X webhooks", ONE_QUEUE),
        ("-D --autoscale 3", MORE),
        ("worker.prefetch_multiplier=hunter2", "(worker.prefetch_multiplier)"),
    ],
)
def test_what_does_not_fit_is_refused(command: Command, options: str, words: str) -> None:
    with pytest.raises(OptionRefused) as refused:
        command.read(*options.split())
    assert words in str(refused.value) and "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value) and not command.detached


@pytest.mark.parametrize(
    ("name", "value"), [("AUTOSCALE", "10,2"), ("POOL", "solo"), ("TIME_LIMIT", "3")]
)
def test_so_is_what_a_variable_says(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Celery reads its options from variables, too."""
    monkeypatch.setenv(f"CELERY_WORKER_{name}", value)
    with pytest.raises(OptionRefused):
        command.read()


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--pool threads",
        "-P threads -c 10",
        "-c auto -E -O fair --prefetch-multiplier 2 --disable-prefetch",
        "-Q webhooks -X others --purge -S state --without-gossip --without-mingle",
        "-n w1@%h --without-heartbeat --heartbeat-interval 5 -I tests.faulty",
        "-s schedule -l debug -f FILE --pidfile PID",
    ],
)
def test_what_fits_is_taken_and_the_pool_is_threads(command: Command, options: str) -> None:
    context = command.read(*options.split())
    assert context.params["pool"] is ThreadPool
    assert not command.detached


def test_who_detaches_is_checked_before(command: Command) -> None:
    command.read("-D")
    assert command.detached == 1


@pytest.mark.parametrize(("options", "level"), [("", None), ("-l DEBUG", 10), ("-l error", 40)])
def test_a_level_counts_if_somebody_chose_it(command: Command, options: str, level: Any) -> None:
    assert chosen_level() is None
    with command.read(*options.split()):
        assert chosen_level() == level


class TestFiles:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                ("-D", "-f", "{}/none/a.log"),
                "--logfile {}/none/a.log cannot be written: there is no",
            ),
            (("-f", "{}"), "--logfile {} cannot be written: it is a folder"),
            (("-D", "--pidfile={}/none/w.pid"), "--pidfile {}/none/w.pid cannot be written"),
            (("-S", "{}/none/state"), "--statedb {}/none/state cannot be written"),
            (("-I", "no_such_module"), "--include no_such_module is no module"),
            (("-I", "no.such.module"), "--include no.such.module is no module"),
            (("--uid", "nosuchuser"), "--uid nosuchuser is not known"),
            (("--gid", "nosuchgroup"), "--gid nosuchgroup is not known"),
        ],
    )
    def test_what_cannot_be_obeyed_is_refused_before_detaching(
        self, command: Command, tmp_path: Path, options: tuple[str, ...], words: str
    ) -> None:
        with pytest.raises(OptionRefused) as caught:
            command.read(*(option.format(tmp_path) for option in options))
        assert words.format(tmp_path) in str(caught.value)
        assert command.detached == 0

    def test_what_can_be_is_taken(self, command: Command, tmp_path: Path) -> None:
        command.read(
            "-D", "-f", f"{tmp_path}/%n.log", "--pidfile", f"{tmp_path}/w.pid", "-I", "json"
        )
        assert command.detached == 1

    def test_all_that_is_wrong_is_in_one_message(self, command: Command, tmp_path: Path) -> None:
        with pytest.raises(OptionRefused, match=r"(?s)--logfile .* --pidfile .*"):
            command.read("-f", f"{tmp_path}/none/a", "--pidfile", f"{tmp_path}/none/b")
