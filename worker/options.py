"""Which of Celery's options for a worker do not fit, told before anything starts.

All others mean what Celery's manual says. A worker has one pool, threads, and one queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import click
from celery import Celery
from celery.bin.base import CeleryOption
from celery.concurrency import thread
from click.core import ParameterSource

from config.broker import QUEUE
from worker.options_files import file_problems
from worker.threads import ThreadPool

_MORE: Final = "a worker runs threads alone (--concurrency says how many): run more workers instead"
_NO_END: Final = (
    "a thread cannot be ended from outside: COMETCHAT_CONNECT_TIMEOUT and COMETCHAT_READ_TIMEOUT "
    "bound each call, and expires_in each job"
)
_ONE_QUEUE: Final = f"all jobs come by the queue {QUEUE}"

#: By the option's name in Celery: the option, and why it is refused.
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "autoscale": ("--autoscale", _MORE),
    "max_tasks_per_child": ("--max-tasks-per-child", _MORE),
    "max_memory_per_child": ("--max-memory-per-child", _MORE),
    "pool_start_method": ("--pool-start-method", _MORE),
    "time_limit": ("--time-limit", _NO_END),
    "soft_time_limit": ("--soft-time-limit", _NO_END),
    "beat": ("--beat", "beat is a process of its own: run `celery -A worker beat`, once"),
}


class OptionRefused(Exception):
    """An option of Celery's does not fit; the message says which, and what to do instead."""


def check_options(options: Mapping[str, Any], is_given: Callable[[str], bool]) -> None:
    """Raise `OptionRefused` for an option of a worker that does not fit.

    Args:
        options: the options' values, by Celery's names.
        is_given: whether somebody gave an option, be it as a variable.
    """
    for name, (option, why) in REFUSED.items():
        if is_given(name) and options.get(name) not in (None, False):
            raise OptionRefused(f"{option} does not fit: {why}.")
    # Celery takes a prefork that was asked for as the configured pool, which is not its own.
    if is_given("pool") and options["pool"] is not thread.TaskPool:
        raise OptionRefused(f"--pool can be threads alone: {_MORE}.")
    if (queues := options.get("queues")) and set(queues) != {QUEUE}:
        raise OptionRefused(f"--queues does not fit: {_ONE_QUEUE}.")
    if QUEUE in (options.get("exclude_queues") or ()):
        raise OptionRefused(f"--exclude-queues does not fit: {_ONE_QUEUE}.")


def check_files(options: Mapping[str, Any]) -> None:
    """Raise `OptionRefused` for files that cannot be written, and modules and users that are not
    there. `options` are by Celery's names."""
    if problems := list(file_problems(options)):
        raise OptionRefused(" ".join(problems))


def add_check(
    app: Celery, refuse: Callable[[Exception], NoReturn], before_detaching: Callable[[], None]
) -> None:
    """Have the options of `celery -A worker worker` checked once Celery has read them.

    Args:
        app: the Celery app.
        refuse: ends the process with a message.
        before_detaching: what a worker needs to start: who detaches has nobody to tell later.
    """

    def check(context: click.Context, _: click.Parameter, __: object) -> None:
        def is_given(name: str) -> bool:
            return context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)

        try:
            check_options(context.params, is_given)
            check_files(context.params)
        except OptionRefused as error:
            refuse(error)
        context.params["pool"] = ThreadPool
        if context.params["detach"]:
            before_detaching()

    def check_beat(context: click.Context, _: click.Parameter, __: object) -> None:
        try:
            check_files(context.params)
        except OptionRefused as error:
            refuse(error)

    # An option that nobody gives is read last: Celery's documented place for more of them.
    for command, callback in (("worker", check), ("beat", check_beat)):
        app.user_options[command].add(
            CeleryOption(
                ["--check"], is_flag=True, hidden=True, expose_value=False, callback=callback
            )
        )


def check_arguments() -> None:
    """Raise `OptionRefused` if there are arguments by which Celery would change its settings."""
    context = click.get_current_context(silent=True)
    if context is not None and context.args:
        names = " ".join(one.partition("=")[0] for one in context.args)
        raise OptionRefused(
            f"Celery's settings cannot be changed by arguments ({names}): .env.example has all "
            "settings, and `celery worker --help` the options."
        )


def chosen_level() -> int | None:
    """The --loglevel that somebody chose for the command that runs, if any."""
    context = click.get_current_context(silent=True)
    if context is None or "loglevel" not in context.params:
        return None
    is_default = context.get_parameter_source("loglevel") is ParameterSource.DEFAULT
    return None if is_default else int(context.params["loglevel"])
